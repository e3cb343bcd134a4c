// A classic script in the head: the theme chosen before is set before anything is painted.
try {
  const chosen = localStorage.getItem("ganvas-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // a browser that forbids storage follows the system
}

// A classic script in the head: the theme chosen before is set before anything is painted.
{
  const chosen = localStorage.getItem("ganvas-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}

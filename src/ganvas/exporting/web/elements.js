/** The element of the page with this id. */
export function element(id) {
  return document.getElementById(id);
}

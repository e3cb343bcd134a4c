/** Elements without a framework: text is always text, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. Attributes: class, on {event: handler}, style {property: value}, dataset, props; null and false are left out. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element, with the same attributes as `h`. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "props") Object.assign(element, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Replaces the content of an element. */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/** Sets text only where it differs, so that a live page does not disturb selections and screen readers. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets or removes an attribute only where it differs. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Makes the children of `parent` those of `items`, in their order, and keeps the elements that stay.
 * @param {(item) => string} key  @param {(item) => Element} make  @param {(element, item) => void} update
 */
export function keyed(parent, items, key, make, update) {
  const names = new Set(items.map((item) => String(key(item))));
  // first, since every element behind one that goes would have to be moved, and one that is moved loses the focus
  for (const child of [...parent.children]) if (!names.has(child.dataset.key)) child.remove();
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = old.get(name);
    old.delete(name);
    if (!element) {
      element = make(item);
      element.dataset.key = name;
    }
    update?.(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
}

/** Calls `work` at most once in a frame, with the newest arguments. */
export function inFrame(work) {
  let waiting = 0;
  let latest = [];
  const call = (...values) => {
    latest = values;
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      work(...latest);
    });
  };
  call.cancel = () => cancelAnimationFrame(waiting);
  return call;
}

const ICONS = {
  failure: ["M8 1.5 15 14H1Z", "M8 6v4", "M8 12v.2"],
  warning: ["M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13Z", "M8 4.5v4.5", "M8 11.3v.2"],
  note: ["M3 2.5h10v11H3Z", "M8 7v4", "M8 4.8v.2"],
  healthy: ["M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13Z", "M5 8.2l2.2 2.2L11.2 6"],
  play: ["M4.5 2.8v10.4l8.5-5.2Z"],
  pause: ["M5 3v10", "M11 3v10"],
  stop: ["M3.5 3.5h9v9h-9Z"],
  previous: ["M10.5 3 5.5 8l5 5"],
  next: ["M5.5 3l5 5-5 5"],
  first: ["M11.5 3l-5 5 5 5", "M4 3v10"],
  last: ["M4.5 3l5 5-5 5", "M12 3v10"],
  copy: ["M5.5 5.5h8v8h-8Z", "M10.5 5.5v-3h-8v8h3"],
  sun: ["M8 5a3 3 0 1 0 0 6a3 3 0 0 0 0-6Z", "M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1.1 1.1M11.9 11.9 13 13M13 3l-1.1 1.1M4.1 11.9 3 13"],
  moon: ["M13.5 9.7A6 6 0 1 1 6.3 2.5a4.8 4.8 0 0 0 7.2 7.2Z"],
  system: ["M1.5 2.5h13v9h-13Z", "M5.5 14h5"],
  search: ["M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 0 0 0-9Z", "M10.3 10.3 14 14"],
  close: ["M3.5 3.5l9 9", "M12.5 3.5l-9 9"],
  plus: ["M8 3v10", "M3 8h10"],
  minus: ["M3 8h10"],
  pencil: ["M3 13l.7-3L10.5 3.2l2.3 2.3L6 12.3Z", "M9 4.7l2.3 2.3"],
  zoom: ["M7 2.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 0 0 0-9Z", "M10.3 10.3 14 14", "M5 7h4"],
  branch: ["M4.5 2v12", "M4.5 10c0-4 7-2 7-6", "M11.5 2.2v1.6"],
  report: ["M3.5 1.5h6l3 3v10h-9Z", "M6 8h4M6 11h4"],
  trash: ["M2.5 4.5h11", "M4 4.5l.7 9.5h6.6l.7-9.5", "M6 4.3V2h4v2.3"],
  upload: ["M8 11V2.5", "M4.5 6 8 2.5 11.5 6", "M2.5 10.5v3h11v-3"],
  download: ["M8 2.5v8.5", "M4.5 7.5 8 11l3.5-3.5", "M2.5 10.5v3h11v-3"],
  chart: ["M2 2v12h12", "M4.5 10.5l3-4 2.5 2 3.5-5"],
  mark: ["M8 2v12"],
  move: ["M8 2v12M2 8h12", "M6 4l2-2 2 2M6 12l2 2 2-2M4 6 2 8l2 2M12 6l2 2-2 2"],
};

/** A line icon of 16 × 16; it says nothing to screen readers, so a word stands beside it or in aria-label. */
export function icon(name) {
  return svg(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" },
    ICONS[name].map((d) => svg("path", { d })),
  );
}

/** A text with its flags in one piece: a line never ends within --d-lr. */
export const withFlags = (text) => text.split(/(?<=\s|^)(--?[A-Za-z][\w-]*)(?=\s|$)/).map((part, i) => (i % 2 ? h("span", { class: "flag-word" }, part) : part));

/** An error as what happened, what was expected, and the fix. */
export function errorBox(error) {
  return h(
    "div",
    { class: "error-box", role: "alert" },
    icon("failure"),
    h(
      "div",
      null,
      h("p", { class: "error-what" }, withFlags(error.what ?? error.message)),
      error.expected && h("p", { class: "error-more" }, withFlags(error.expected)),
      error.fix && h("p", { class: "error-fix" }, withFlags(error.fix)),
    ),
  );
}

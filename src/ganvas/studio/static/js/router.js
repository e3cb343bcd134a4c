/** Addresses by the history API: one page is open at a time, and its address reproduces its view. */

import { h, replace } from "./dom.js";
import { t } from "./i18n.js";
import { errorBox } from "./messages.js";

const PAGES = {
  "/": () => import("./pages/runs.js"),
  "/run": () => import("./pages/run.js"),
  "/data": () => import("./pages/data.js"),
  "/diagnose": () => import("./pages/diagnose.js"),
  "/explore": () => import("./pages/explore.js"),
  "/style": () => import("./pages/style.js"),
  "/compare": () => import("./pages/compare.js"),
  "/lab": () => import("./pages/lab.js"),
  "/quiz": () => import("./pages/quiz.js"),
};

/** Changes that follow each other sooner are one. */
const GESTURE_MS = 1000;

/**
 * What the open page has returned: a function that ends it, or {close, restore(params)}. It gets {again: true} if the
 * same page is opened next, in another language; `restore` returns false where it cannot show another address.
 */
let opened = null;
let opening = 0;
let onChange = () => {};
let subject = "";

/** What a page is about: its other parameters are its view of it. */
function subjectOf({ pathname, search }) {
  const params = new URLSearchParams(search);
  return [pathname, params.get("run"), params.get("of")].join(" ");
}

/** Goes to a page. */
export function navigate(address, { replace: instead = false } = {}) {
  history[instead ? "replaceState" : "pushState"](null, "", address);
  return open({ focus: true });
}

/** Changes the address's parameters without opening the page again; null removes one. With `push` the back button undoes it. */
export function setParams(changes, { push = false } = {}) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  // the slash in a run's key is allowed in a query, and kept readable
  const text = address.pathname + address.search.replaceAll("%2F", "/");
  if (text !== location.pathname + location.search) history[push ? "pushState" : "replaceState"](null, "", text);
}

/** A function that says of each change when it is made whether the back button undoes it alone: not if it follows the last one at once. */
export function gestures() {
  let last = -Infinity;
  return () => {
    const before = last;
    last = performance.now();
    return last - before > GESTURE_MS;
  };
}

/** Opens the page of the address; `again`: the one that is open. */
export async function open({ focus = false, again = false } = {}) {
  const turn = ++opening;
  const params = new URLSearchParams(location.search);
  const main = document.getElementById("main");
  leave({ again });
  subject = subjectOf(location);
  onChange(location.pathname);
  const load = PAGES[location.pathname];
  try {
    const page = load ? (await load()).default : notFound;
    if (turn !== opening) return;
    const place = h("div", { class: "page-place" }); // a page that is left while it opens adds nothing to the next
    replace(main, place);
    main.className = "";
    document.title = `${t(page.title)} · Ganvas`;
    if (focus) {
      scrollTo(0, 0);
      main.focus({ preventScroll: true });
    }
    const ending = await page.open(place, params);
    if (turn !== opening) end(ending);
    else opened = ending ?? null;
  } catch (error) {
    if (turn !== opening) return;
    replace(main, h("div", { class: "page" }, errorBox(error)));
  }
}

function leave(options) {
  const ending = opened;
  opened = null;
  end(ending, options);
}

const end = (ending, options) => (ending?.close ?? ending)?.(options);

const notFound = {
  title: "shell.not_found",
  open(main) {
    main.append(
      h("div", { class: "page empty" }, h("h1", null, t("shell.not_found")), h("p", null, h("a", { href: "/" }, t("shell.to_runs")))),
    );
  },
};

/** Starts to listen; `changed` is told each address. */
export function start(changed) {
  onChange = changed;
  addEventListener("popstate", () => {
    const isSame = subjectOf(location) === subject; // it undoes a change within a page then
    if (!isSame || !opened?.restore || opened.restore(new URLSearchParams(location.search)) === false) open({ focus: !isSame });
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const address = new URL(link.href);
    if (link.target || link.hasAttribute("download") || address.origin !== location.origin) return;
    if (address.hash && address.pathname === location.pathname) {
      event.preventDefault(); // the browser's own way ends in popstate, which opens the page again
      document.getElementById(address.hash.slice(1))?.focus();
      return;
    }
    if (!(address.pathname in PAGES)) return;
    event.preventDefault();
    navigate(address.pathname + address.search);
  });
  return open();
}

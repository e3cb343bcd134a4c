/** The shell: the header with the pages, the language and the theme; the pages open in <main>. */

import { h, icon, replace } from "./dom.js";
import { session } from "./api.js";
import { ignoreOtherDrops } from "./drop.js";
import { LANGUAGES, language, load, t } from "./i18n.js";
import { open, start } from "./router.js";
import { recall, remember } from "./settings.js";

const LINKS = [["/", "shell.runs"], ["/data", "shell.data"], ["/diagnose", "shell.diagnose"], ["/explore", "shell.explore"], ["/style", "shell.style"], ["/compare", "compare.link"], ["/lab", "lab.link"], ["/quiz", "quiz.link"]];
const THEMES = ["system", "light", "dark"];

function firstLanguage() {
  const wanted = [recall("language"), ...navigator.languages].filter(Boolean);
  return wanted.map((one) => one.slice(0, 2).toLowerCase()).find((one) => LANGUAGES.includes(one)) ?? "en";
}

async function setLanguage(chosen) {
  await load(chosen);
  document.documentElement.lang = language();
  document.getElementById("skip").textContent = t("shell.skip");
  drawHeader();
}

function drawHeader() {
  const nav = h(
    "nav",
    { "aria-label": t("shell.pages") },
    LINKS.map(([address, key]) => h("a", { href: address, dataset: { address } }, t(key))),
  );
  const languages = h(
    "select",
    { class: "plain-select", "aria-label": t("shell.language"), on: { change: (event) => changeLanguage(event.target.value) } },
    LANGUAGES.map((one) => h("option", { value: one, selected: one === language(), lang: one }, one.toUpperCase())),
  );
  const theme = h("button", { type: "button", class: "icon-button", id: "theme", on: { click: nextTheme } });
  replace(
    document.getElementById("top"),
    h("a", { href: "/", class: "brand", "aria-label": "Ganvas" }, h("img", { src: "/static/favicon.svg", alt: "", width: 24, height: 24 }), h("span", null, "Ganvas")),
    nav,
    h("div", { class: "top-end" }, languages, theme),
  );
  drawTheme();
  markCurrent(location.pathname);
}

async function changeLanguage(chosen) {
  remember("language", chosen);
  await setLanguage(chosen);
  document.querySelector(".top-end select").focus();
  await drawNotice();
  await open({ again: true });
}

function chosenTheme() {
  return document.documentElement.dataset.theme ?? "system";
}

function nextTheme() {
  const next = THEMES[(THEMES.indexOf(chosenTheme()) + 1) % THEMES.length];
  if (next === "system") {
    delete document.documentElement.dataset.theme;
    remember("theme", null);
  } else {
    document.documentElement.dataset.theme = next;
    remember("theme", next);
  }
  drawTheme();
}

function drawTheme() {
  const theme = chosenTheme();
  const button = document.getElementById("theme");
  const text = t("shell.theme", { theme: t(`shell.theme.${theme}`) });
  button.title = text;
  button.setAttribute("aria-label", text);
  replace(button, icon({ system: "system", light: "sun", dark: "moon" }[theme]));
}

function markCurrent(path) {
  for (const link of document.querySelectorAll("#top nav a")) {
    const here = link.dataset.address === path || (path === "/run" && link.dataset.address === "/");
    if (here) {
      link.setAttribute("aria-current", "page");
      link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft; // on a narrow screen they do not all fit
    } else link.removeAttribute("aria-current");
  }
}

async function drawNotice() {
  const notice = document.getElementById("notice");
  const known = await session().catch(() => null);
  notice.hidden = !known || known.may_write;
  if (!notice.hidden) notice.textContent = t("shell.reading_only");
}

ignoreOtherDrops();
await setLanguage(firstLanguage());
await start(markCurrent);
await drawNotice();
document.addEventListener("reconnected", drawNotice);

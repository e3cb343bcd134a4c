/** The photo and the paintings: dropped, sent, shown small, and removed again. */

import { del, post } from "../api.js";
import { dropZone } from "../drop.js";
import { h, icon, replace } from "../dom.js";
import { number } from "../format.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { range } from "../range.js";
import { upload } from "../upload.js";
import { uploadView } from "./data_source.js";
import { shown } from "./style_form.js";

/** `form.photo`: {upload, name, shape, url}; `form.paintings`: the same with a weight. */
export function createPictures({ form, most, mayWrite, onChange }) {
  const photo = h("div", { class: "stack" });
  const paintings = h("div", { class: "stack" });
  const aborter = new AbortController();

  async function send(place, items, draw, take) {
    const own = new AbortController();
    aborter.signal.addEventListener("abort", () => own.abort());
    const view = uploadView(items, () => own.abort());
    replace(place, view.element);
    let problem = null;
    try {
      for (const item of items) {
        const sent = await upload([item], { onProgress: view.onProgress, signal: own.signal });
        take(shown(await post("/api/pictures", { upload: sent.upload })));
        onChange();
      }
    } catch (error) {
      problem = error.name === "AbortError" ? null : error;
    }
    draw(problem);
  }

  const zone = (title, hint, work) =>
    mayWrite ? dropZone({ drawing: "images", title, hint, onItems: work, folders: false }) : h("p", { class: "small muted" }, t("shell.reading_only"));

  const remove = (one, work) => {
    const label = t("style.remove", { name: one.name });
    const forget = () => {
      work();
      onChange();
      del(`/api/uploads/${encodeURIComponent(one.upload)}`).catch(() => null); // the server may have begun anew
    };
    return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, on: { click: forget } }, icon("close"));
  };

  function drawPhoto(problem = null) {
    const one = form.photo;
    replace(
      photo, problem && errorBox(problem),
      one
        ? h("figure", { class: "style-picture" }, h("img", { src: one.url, alt: t("style.photo") }), h("figcaption", { class: "small" }, one.name),
            remove(one, () => { form.photo = null; drawPhoto(); }))
        : zone(t("style.photo.drop"), t("style.photo.hint"), (items) => send(photo, items.slice(0, 1), drawPhoto, (sent) => { form.photo = sent; })),
    );
  }

  function drawPaintings(problem = null) {
    const several = form.paintings.length > 1;
    const item = (one) => {
      const weight = several && range({
        label: t("style.weight"), least: 0.1, most: 2, step: 0.1, value: one.weight, name: t("style.weight.of", { name: one.name }),
        text: (value) => number(value), onInput: (value) => { one.weight = value; onChange(); },
      });
      return h("figure", { class: "style-picture" }, h("img", { src: one.url, alt: one.name }), h("figcaption", { class: "small" }, one.name),
        remove(one, () => { form.paintings = form.paintings.filter((other) => other !== one); drawPaintings(); }),
        weight && weight.element);
    };
    const take = (sent) => form.paintings.push({ ...sent, weight: 1 });
    replace(
      paintings, problem && errorBox(problem),
      form.paintings.length > 0 && h("div", { class: "style-paintings" }, form.paintings.map(item)),
      form.paintings.length < most &&
        zone(t(several || form.paintings.length ? "style.paintings.more" : "style.paintings.drop"), t("style.paintings.hint"),
          (items) => send(paintings, items.slice(0, most - form.paintings.length), drawPaintings, take)),
    );
  }
  drawPhoto();
  drawPaintings();

  return {
    element: h("div", { class: "style-sources" },
      h("section", { "aria-labelledby": "style-photo" }, h("h2", { id: "style-photo" }, t("style.photo")), photo),
      h("section", { "aria-labelledby": "style-paintings" }, h("h2", { id: "style-paintings" }, t("style.paintings")), paintings)),
    close: () => aborter.abort(),
  };
}

/** The page Style: a photo redrawn in the style of paintings, while one looks on. */

import { get, post, session } from "../api.js";
import { commandBox } from "../command.js";
import { h, icon, replace, setText } from "../dom.js";
import { t } from "../i18n.js";
import { errorBox } from "../messages.js";
import { newest, settled } from "../newest.js";
import { setParams } from "../router.js";
import { keep, restore } from "./style_form.js";
import { createKnobs } from "./style_knobs.js";
import { createPictures } from "./style_pictures.js";
import { createResult } from "./style_result.js";
import { timeText } from "./style_time.js";

const CHECK_MS = 250;

export default {
  title: "style.title",

  async open(main, params) {
    const [{ knobs, presets, most }, known, { works }] = await Promise.all([get("/api/style/knobs"), session(), get("/api/live")]);
    const form = await restore(params, knobs);
    if (!main.isConnected) return undefined;
    const command = h("div", { class: "style-command" });
    const message = h("div");
    const time = h("p", { class: "small muted" });
    const start = h("button", { type: "button", class: "button primary style-start", on: { click: begin } }, icon("play"), t("style.start"));
    const settings = createKnobs({ knobs, presets, form, onChange: changed });
    const pictures = createPictures({ form, most, mayWrite: known.may_write, onChange: changed });
    const result = createResult({ onEnd: changed });

    const body = () => ({
      photo: form.photo?.upload ?? null,
      paintings: form.paintings.map((one) => one.upload),
      knobs: { ...form.knobs, ...weights() },
      shape: form.photo?.shape ?? null,
    });
    const weights = () => (form.paintings.length > 1 ? { style_weights: form.paintings.map((one) => one.weight) } : {});

    const check = settled(newest(async () => {
      try {
        const found = await post("/api/style/check", body());
        settings.setErrors(found.errors);
        if (found.command) replace(command, commandBox(found.command));
        setText(time, !found.ok || result.running() ? "" : timeText(found.work));
        start.disabled = !known.may_write || !found.ok || !form.photo || !form.paintings.length || result.running();
      } catch (error) {
        replace(message, errorBox(error));
      }
    }), CHECK_MS);

    const save = settled(() => keep(knobs), CHECK_MS); // a browser takes only so many addresses a second

    function changed() {
      replace(message);
      save();
      start.disabled = true;
      if (known.may_write) check();
    }

    async function begin() {
      start.disabled = true;
      replace(message);
      try {
        const work = await post("/api/style", body());
        setText(time, ""); // what is left is said beside the picture
        setParams({ work: work.id });
        result.watch(work.id);
      } catch (error) {
        replace(message, errorBox(error));
      }
    }

    main.append(
      h("div", { class: "page style-page" },
        h("div", { class: "page-head" }, h("h1", null, t("style.title")), h("p", { class: "muted" }, t("style.subtitle"))),
        h("div", { class: "style-columns" },
          h("div", { class: "stack" }, pictures.element, settings.element, h("div", { class: "row" }, start, time), message, command),
          result.element)),
    );
    changed();
    // the newest is shown, whichever page has started it, and also after its end
    const last = params.get("work") ?? works.find((one) => one.kind === "style" && one.state !== "failed")?.id;
    if (last) result.watch(last, () => setParams({ work: null }));
    return () => {
      check.cancel();
      save.cancel();
      result.close();
      pictures.close();
    };
  },
};

/** What was dropped and chosen for a style transfer, as the address of the page has it. */

import { get, url } from "../api.js";
import { setParams } from "../router.js";

/** It also survives a change of the page. */
const form = { photo: null, paintings: [], knobs: {} };

/** A picture as the page shows it, of {upload, name, shape}. */
export const shown = (found) => ({ ...found, url: url("/api/pictures/small", { upload: found.upload }) });

/** The form as an address has it, or else as it was left; pictures that the server no longer has are dropped. */
export async function restore(params, knobs) {
  const given = knobs.filter((knob) => params.has(knob.name));
  if (given.length || params.has("photo") || params.has("paintings")) {
    form.knobs = Object.fromEntries(given.map((knob) => [knob.name, parse(knob, params.get(knob.name))]));
    const weights = (params.get("weights") ?? "").split(",").map(Number);
    form.photo = params.get("photo") && { upload: params.get("photo") };
    form.paintings = (params.get("paintings") ?? "").split(",").filter(Boolean)
      .map((upload, i) => ({ upload, weight: weights[i] > 0 ? weights[i] : 1 }));
  }
  const wanted = [form.photo, ...form.paintings].filter(Boolean).map((one) => ["upload", one.upload]);
  const { pictures } = wanted.length ? await get(`/api/pictures?${new URLSearchParams(wanted)}`) : { pictures: [] };
  const known = new Map(pictures.map((one) => [one.upload, shown(one)]));
  form.photo = known.get(form.photo?.upload) ?? null;
  form.paintings = form.paintings.filter((one) => known.has(one.upload)).map((one) => ({ ...known.get(one.upload), weight: one.weight }));
  return form;
}

function parse(knob, text) {
  if (knob.type === "bool") return text === "true";
  return knob.type === "number" && text.trim() && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** Puts the form into the address. */
export function keep(knobs) {
  const { photo, paintings } = form;
  setParams({
    photo: photo?.upload,
    paintings: paintings.map((one) => one.upload).join(","),
    weights: paintings.some((one) => one.weight !== 1) ? paintings.map((one) => one.weight).join(",") : null,
    ...Object.fromEntries(knobs.map(({ name }) => [name, form.knobs[name]])),
  });
}

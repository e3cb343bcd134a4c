/** Numbers, times and sizes in the language of the page. */

import { language, t } from "./i18n.js";

const formats = new Map();

function format(options) {
  const key = language() + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(language(), options));
  return formats.get(key);
}

/** 1,234,567 */
export const integer = (value) => format({ maximumFractionDigits: 0 }).format(value);

/** Three significant digits; powers of ten where it is very small or large; "–" for nothing. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
    return format({ notation: "scientific", maximumSignificantDigits: digits }).format(value);
  }
  if (size >= 1000) return format({ maximumFractionDigits: 0 }).format(value);
  return format({ maximumSignificantDigits: digits }).format(value);
}

/** The labels of one axis: as `number`, or all as powers of ten where one of them has more than `letters`. */
export function ticksText(values, letters) {
  const texts = values.map((value) => number(value));
  if (texts.every((text) => text.length <= letters)) return texts;
  return values.map((value) => (value === 0 ? number(0) : format({ notation: "scientific", maximumSignificantDigits: 3 }).format(value)));
}

/** Images shown, in thousands: 4032 -> "4.03" */
export function kimg(nimg) {
  const value = nimg / 1000;
  return format(value >= 100 ? { maximumFractionDigits: 0 } : { maximumFractionDigits: value >= 10 ? 1 : 2 }).format(value);
}

/** The same to the image, for one of several pictures or snapshots: 100416 -> "100.416" */
export const kimgExact = (nimg) => format({ maximumFractionDigits: 3 }).format(nimg / 1000);

export const percent = (part) => format({ style: "percent", maximumFractionDigits: 0 }).format(part);

const BYTES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** 3501652 -> "3.5 MB" */
export function bytes(size) {
  const step = size < 1 ? 0 : Math.min(BYTES.length - 1, Math.floor(Math.log10(size) / 3));
  return format({ style: "unit", unit: BYTES[step], maximumFractionDigits: step < 2 ? 0 : 1 }).format(size / 1000 ** step);
}

/** 15 -> "15 s", 75 -> "1 min 15 s", 4000 -> "1 h 7 min" */
export function duration(seconds) {
  const total = Math.max(0, Math.round(seconds));
  const unit = (value, name) => format({ style: "unit", unit: name, unitDisplay: "short" }).format(value);
  const [days, hours] = [Math.floor(total / 86400), Math.floor((total % 86400) / 3600)];
  const [minutes, rest] = [Math.floor((total % 3600) / 60), total % 60];
  if (days) return `${unit(days, "day")} ${hours ? unit(hours, "hour") : ""}`.trim();
  if (hours) return `${unit(hours, "hour")} ${minutes ? unit(minutes, "minute") : ""}`.trim();
  if (minutes) return minutes < 10 && rest ? `${unit(minutes, "minute")} ${unit(rest, "second")}` : unit(minutes, "minute");
  return unit(rest, "second");
}

/** A time in seconds since 1970 -> "3 minutes ago" */
export function ago(time) {
  const seconds = Math.max(0, Date.now() / 1000 - time);
  const relative = new Intl.RelativeTimeFormat(language(), { numeric: "auto" });
  if (seconds < 45) return t("shell.just_now");
  if (seconds < 3600) return relative.format(-Math.round(seconds / 60), "minute");
  if (seconds < 86400) return relative.format(-Math.round(seconds / 3600), "hour");
  if (seconds < 86400 * 30) return relative.format(-Math.round(seconds / 86400), "day");
  return new Intl.DateTimeFormat(language(), { dateStyle: "medium" }).format(new Date(time * 1000));
}

/** A time in seconds since 1970 -> "27 Nov 2026, 20:01" */
export const moment = (time) =>
  new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(time * 1000));

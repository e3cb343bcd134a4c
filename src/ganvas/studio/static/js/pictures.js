/** Pictures of the server in an <img>: fetched first, so that an error is told in words, and shown without a blank. */

import { ApiError } from "./api.js";
import { t } from "./i18n.js";

/** The picture of an address as a Blob; null where the server has dropped the request for a newer one. */
export async function fetchPicture(address, signal = null) {
  let answer;
  try {
    answer = await fetch(address, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ what: t("shell.offline"), fix: t("shell.offline.fix") }, 0);
  }
  if (answer.status === 204) return null;
  if (!answer.ok) {
    const body = await answer.json().catch(() => null);
    throw new ApiError(body?.error ?? { what: `${answer.status} ${answer.statusText}` }, answer.status);
  }
  return answer.blob();
}

/** Shows a Blob in an <img>; the old picture stays until the new one is decoded. */
export async function showBlob(image, blob) {
  const address = URL.createObjectURL(blob);
  const before = image.src;
  const next = new Image();
  next.src = address;
  await next.decode().catch(() => {});
  image.src = address;
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
  await image.decode().catch(() => {});
}

/** The address of a PNG in Base64. */
export const dataPng = (base64) => `data:image/png;base64,${base64}`;

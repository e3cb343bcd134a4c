/** Commands that the server runs for the page: it starts one, and waits for its run or its end. */

import { ApiError, get, post } from "./api.js";
import { t } from "./i18n.js";

const EVERY_MS = 300;

/** Waits until `ready(job)`; the job as it is then. A job that fails before is an error. */
export async function waitFor(job, ready) {
  for (;;) {
    if (job.state === "failed") throw new ApiError(job.error, 500);
    if (ready(job)) return job;
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    job = await ask(job);
  }
}

/** The job as it is now; one that the server has forgotten is done. */
async function ask(job) {
  try {
    return (await get("/api/jobs", { id: job.id })).jobs[0];
  } catch (error) {
    if (error.status !== 404) throw error;
    return { ...job, state: "done" };
  }
}

/** Starts a training, as POST /api/train takes it, and waits for the key of its run. */
export async function startTraining(body) {
  const job = await waitFor(await post("/api/train", body), (one) => one.run || one.state !== "running");
  if (!job.run) throw new ApiError({ what: t("shell.no_run"), expected: job.output.split("\n").slice(-3).join("\n") }, 500);
  return job.run;
}

/** Where a run is shown. */
export const runAddress = (run) => `/run?run=${encodeURIComponent(run).replaceAll("%2F", "/")}`;

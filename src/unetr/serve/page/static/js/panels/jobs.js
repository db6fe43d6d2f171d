/** The list of jobs, newest first; one opens again by a click. */

import { icon, make, timeInWords } from "../dom.js";
import { ENDED, FINISHED, previewAddress } from "../engine.js";
import { millilitres } from "./labels.js";

const WORDS = {
  received: ["clock", "waiting"],
  ready: ["clock", "waiting"],
  running: ["spinner", "running"],
  failed: ["error", "failed"],
  cancelled: ["stop", "cancelled"],
};
const VERDICTS = { ok: ["check", "like training"], warned: ["warning", "unlike training"], unknown: ["question", "not compared"] };

/**
 * @param {HTMLElement} place a list @param {import("../engine.js").Job[]} jobs
 * @param {{current: string | null, open: (job: any) => void}} options current: id of the one that is open
 */
export function showJobs(place, jobs, { current, open }) {
  place.replaceChildren(...jobs.map((job) => entry(job, job.model, job.id === current, open)));
}

function entry(job, title, isCurrent, open) {
  const finished = FINISHED.includes(job.state);
  const waits = job.error && !ENDED.includes(job.state) ? ["clock", "waiting for room"] : (WORDS[job.state] ?? WORDS.ready);
  const [sign, words] = finished ? (VERDICTS[job.summary.verdict?.state] ?? VERDICTS.unknown) : waits;
  const kind = finished ? (job.summary.verdict?.state ?? "unknown") : job.state;
  const picture = finished && job.results.some((file) => file.form === "preview")
    ? make("img", { src: previewAddress(job.id), alt: "", loading: "lazy", width: 56, height: 56 })
    : make("span", { class: "no-picture" }, icon(sign));
  return make("li", {},
    make("button", {
      type: "button", class: "job", "aria-current": isCurrent ? "true" : null, click: () => open(job),
      "aria-label": `${title}, ${timeInWords(job.created_s)}, ${words}`,
    },
    picture,
    make("span", { class: "job-text" },
      make("strong", { text: title }),
      make("span", { class: "soft", text: `${timeInWords(job.created_s)} · ${detail(job, finished)}` }),
      make("span", { class: "chip", "data-kind": kind }, icon(sign), words))));
}

function detail(job, finished) {
  if (!finished) return ENDED.includes(job.state) ? "no result" : "no result yet";
  const volumes = Object.values(job.summary.volumes_ml ?? {});
  return millilitres(volumes.reduce((sum, one) => sum + one, 0));
}

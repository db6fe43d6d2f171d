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

export class JobList {
  /** @param {HTMLElement} place a list @param {(job: any) => void} open */
  constructor(place, open) {
    this.place = place;
    this.open = open;
    this.shape = null;
  }

  /**
   * Made anew only where something has changed: a click or a reader in the middle of it keeps its button.
   * @param {import("../engine.js").Job[]} jobs @param {string | null} current id of the one that is open
   */
  show(jobs, current) {
    const rows = jobs.map(inWords);
    const shape = JSON.stringify([current, rows]);
    if (shape === this.shape) return;
    this.shape = shape;
    const focused = this.place.contains(document.activeElement) ? document.activeElement.dataset.job : null;
    const buttons = rows.map((row, index) => entry(row, row.id === current, () => this.open(jobs[index])));
    this.place.replaceChildren(...buttons.map((button) => make("li", {}, button)));
    // By its id: after a new job, another one is at its place.
    if (focused) buttons.find((button) => button.dataset.job === focused)?.focus();
  }
}

/** What is told of a job. */
function inWords(job) {
  const finished = FINISHED.includes(job.state);
  const waits = job.error && !ENDED.includes(job.state) ? ["clock", "waiting for room"] : (WORDS[job.state] ?? WORDS.ready);
  const [sign, words] = finished ? (VERDICTS[job.summary.verdict?.state] ?? VERDICTS.unknown) : waits;
  return {
    id: job.id, title: job.model, time: timeInWords(job.created_s), sign, words,
    kind: finished ? (job.summary.verdict?.state ?? "unknown") : job.state,
    detail: detail(job, finished),
    picture: finished && job.results.some((file) => file.form === "preview") ? previewAddress(job.id) : null,
  };
}

function entry({ id, title, time, sign, words, kind, detail: more, picture }, isCurrent, open) {
  return make("button", {
    type: "button", class: "job", "data-job": id, "aria-current": isCurrent ? "true" : null, click: open,
    "aria-label": `${title}, ${time}, ${words}`,
  },
  picture ? make("img", { src: picture, alt: "", loading: "lazy", width: 56, height: 56 })
    : make("span", { class: "no-picture" }, icon(sign)),
  make("span", { class: "job-text" },
    make("strong", { text: title }),
    make("span", { class: "soft", text: `${time} · ${more}` }),
    make("span", { class: "chip", "data-kind": kind }, icon(sign), words)));
}

function detail(job, finished) {
  if (!finished) return ENDED.includes(job.state) ? "no result" : "no result yet";
  const volumes = Object.values(job.summary.volumes_ml ?? {});
  return millilitres(volumes.reduce((sum, one) => sum + one, 0));
}

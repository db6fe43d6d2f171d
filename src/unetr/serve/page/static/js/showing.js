/** The scan on the screen, the labels over it once both are there, and what is made of them. */

import { byId, show, timeInWords } from "./dom.js";
import * as engine from "./engine.js";
import { LabelMap, volumesAlone } from "./view/labelmap.js";
import { readLabels } from "./view/nifti.js";
import { CannotDrawError } from "./view/trouble.js";
import { showVerdict } from "./panels/verdict.js";

const LARGE_BYTES = 40_000_000;
/** After which a change of the page is on the screen. */
const PAINTED_MS = 60;
/** Of a label whose colour is not known. */
const USUAL = [230, 159, 0];

export class Showing {
  /** @param {Record<string, any>} parts those of Flow */
  constructor(parts) {
    this.parts = parts;
    this.forget();
  }

  /** Lets go of the scan and of the result. */
  forget() {
    /** @type {{name: string, done: Promise<void>, isOpen: boolean, undrawn: Error | null} | null} */
    this.scan = null;
    this.forgetResult();
    this.parts.viewer.clear();
    this.parts.toolbar.close();
  }

  /** Lets go of the result alone. */
  forgetResult() {
    this.job = this.fetched = null;
    this.corrections = [];
    this.parts.correct.open(null);
    this.parts.viewer.dropLabels();
    for (const id of ["result", "correct", "downloads"]) show(byId(id), false);
  }

  /** Why there is no picture, where this browser cannot draw the scan. */
  get undrawn() {
    return this.scan?.undrawn ?? null;
  }

  /** Opens a scan, unless it is open or on its way: a full queue asks several times for the same. model: null if it is gone. */
  openScan(kept, model, series) {
    const name = [kept.id, model?.name, ...series].join();
    if (this.scan?.name !== name) {
      const scan = { name, isOpen: false, undrawn: null };
      this.scan = scan;
      this.parts.toolbar.isFor(model?.channels ?? [], modalities(kept.facts, series));
      scan.done = this.draw(scan, () => engine.view(kept.id, model?.name ?? null, series)).catch((error) => {
        if (this.scan === scan) this.scan = null; // the next try asks again
        throw error;
      });
    }
    return this.scan.done;
  }

  async draw(scan, ask) {
    const { viewer, toolbar, front } = this.parts;
    try {
      if (viewer.trouble) throw viewer.trouble;
      const bytes = await ask();
      if (this.scan !== scan) return;
      if (bytes.byteLength > LARGE_BYTES) await this.tellOfDrawing();
      if (this.scan !== scan) return;
      if (!(await viewer.open(bytes, (least) => toolbar.usualWindow(least)))) return;
      toolbar.open();
      front.dock();
    } catch (error) {
      if (!(error instanceof CannotDrawError)) throw error;
      scan.undrawn = error;
      toolbar.close();
    }
    scan.isOpen = true;
  }

  /** Without a graphics card a large scan keeps the page from answering for a while: that is said before. */
  async tellOfDrawing() {
    byId("place").textContent = "Drawing the scan. Without a graphics card this takes a minute …";
    show(byId("place"), true);
    await new Promise((done) => setTimeout(done, PAINTED_MS));
  }

  /** Fetches the labels of a finished job while its scan is still drawn; an error is told when they are wanted. */
  fetch(job) {
    if (this.fetched?.id !== job.id) {
      const doubtful = job.results.some((one) => one.form === "uncertainty");
      const labels = engine.result(job.id, "labels").then(readLabels);
      const files = Promise.all([labels, doubtful ? engine.result(job.id, "uncertainty") : null]);
      files.catch(() => {});
      this.fetched = { id: job.id, files };
    }
    return this.fetched.files;
  }

  /**
   * Shows the result of a finished job, once, when its scan is open. Returns what a reader should hear of it, or null
   * where nothing was to be done. isWanted: whether the job still is.
   * @param {any} job @param {any} scan @param {() => boolean} isWanted @returns {Promise<string | null>}
   */
  async showResult(job, scan, isWanted) {
    if (!job || this.job?.id === job.id || !engine.FINISHED.includes(job.state)) return null;
    if (!this.parts.viewer.trouble) this.fetch(job);
    if (!this.scan?.isOpen) return null;
    this.job = job;
    const model = this.parts.setup.madeBy(job);
    const lay = this.undrawn ? this.tell(job, model) : this.lay(job, model, isWanted);
    const [corrections] = await Promise.all([engine.corrections(job.id), lay]);
    if (!isWanted()) return null;
    this.corrections = corrections;
    this.fromDicom = scan.facts.kind === "dicom";
    const words = showVerdict(byId("verdict"), job.summary);
    const gone = model ? "" : ". The model that made this is not offered any more: its labels have numbers instead of names.";
    byId("result-model").textContent = `${job.model}, ${timeInWords(job.created_s)}${gone}`;
    this.offerDownloads();
    for (const id of ["correct", "looks"]) show(byId(id), !this.undrawn);
    show(byId("no-looks"), Boolean(this.undrawn));
    for (const id of ["result", "downloads"]) show(byId(id), true);
    return words;
  }

  /** Lays the labels of a job over the scan. */
  async lay(job, model, isWanted) {
    const { viewer, table, correct, showLabels } = this.parts;
    const [file, doubt] = await this.fetch(job);
    this.fetched = null;
    if (!isWanted()) return;
    const map = new LabelMap(file, known(model), viewer.grid);
    table.open(map, job.summary, model?.regions ?? {});
    showLabels(true); // those of the last one may have been hidden
    viewer.setLabels(map, table.visible);
    viewer.goToLabels();
    correct.open(map);
    await this.parts.doubt(doubt);
  }

  /** Tells of labels that cannot be drawn. */
  async tell(job, model) {
    const volumes = job.summary.volumes_ml ?? {};
    const labels = model ? known(model) : Object.keys(volumes).map((name) => ({ name, value: null, colour: USUAL }));
    this.parts.table.open(volumesAlone(labels, volumes), job.summary, model?.regions ?? {});
    await this.parts.doubt(null);
  }

  /** Keeps a correction on the server, which checks it. @returns {Promise<number>} */
  async save(bytes) {
    const { job } = this;
    const number = await engine.correct(job.id, bytes);
    this.list(job, [...this.corrections, number]);
    // Another window may have saved one meanwhile.
    engine.corrections(job.id).then((numbers) => this.list(job, numbers), () => {});
    return number;
  }

  /** Offers corrections of a job, if they are more than are offered. */
  list(job, numbers) {
    if (this.job !== job || numbers.length <= this.corrections.length) return;
    this.corrections = numbers;
    this.offerDownloads();
  }

  offerDownloads() {
    this.parts.downloads.open(this.job, this.fromDicom, this.corrections);
  }
}

/** What made the picture of each channel, where the scan's files say it; null where they do not, as NIfTI. */
function modalities(facts, series) {
  const of = (uid) => (facts.series ?? []).find((one) => one.uid === uid)?.modality ?? null;
  return series.length > 0 ? series.map(of) : [facts.modality ?? null];
}

/** Labels of a model, by their values. */
function known(model) {
  return Object.entries(model?.labels ?? {})
    .filter(([, value]) => value !== 0)
    .sort(([, a], [, b]) => a - b)
    .map(([name, value]) => ({ name, value, colour: [...(model.colours?.[name] ?? USUAL)] }));
}

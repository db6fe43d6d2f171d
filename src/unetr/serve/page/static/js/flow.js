/** From files to labels on the screen: upload, choose, wait, show; and what to say when something fails. */

import { byId, show, sizeInWords, timeInWords } from "./dom.js";
import * as engine from "./engine.js";
import { LabelMap } from "./view/labelmap.js";
import { readLabels } from "./view/nifti.js";
import { showVerdict } from "./panels/verdict.js";
import { errorInWords } from "./panels/words.js";

/** Uncertainty and labels are fetched; what is older than this request is thrown away. */
export class Flow {
  /** @param {Record<string, any>} parts viewer, front, setup, table, correct, downloads, toolbar, and changed() */
  constructor(parts) {
    this.parts = parts;
    this.scan = null;
    this.job = null;
    this.shown = null;
    this.corrections = [];
    /** Grows with each new scan or job, so that late answers to older ones are known. */
    this.turn = 0;
    this.stop = () => {};
  }

  phase(name) {
    document.body.dataset.phase = name;
    show(byId("segment"), ["choosing", "done", "failed"].includes(name) && this.scan !== null);
    byId("segment").textContent = name === "choosing" ? "Segment" : "Segment again";
    byId("segment").classList.toggle("main", name === "choosing");
  }

  /** Where nothing is open. */
  empty() {
    this.phase("empty");
    this.parts.front.show({
      sign: "upload", title: "Drop a scan to segment it", kind: "empty", silent: true,
      text: "NIfTI, NRRD, MHA, a DICOM folder or a zip. It goes to this server and nowhere else.",
      actions: [{ text: "Choose files", main: true, call: () => byId("files").click() },
        { text: "Choose a folder", call: () => byId("folder").click() }],
    });
  }

  /** Lets go of what is open. Returns whether it may, and the number of the new turn. */
  leave() {
    if (this.parts.correct.isUnsaved && !window.confirm("The correction is not saved. Leave it?")) return null;
    this.stop();
    this.turn += 1;
    this.shown = this.scan = this.job = null;
    this.corrections = [];
    this.parts.viewer.clear();
    this.parts.toolbar.close();
    this.close();
    this.parts.setup.offerSeries([]);
    return this.turn;
  }

  /** Takes the labels away, and what belongs to them. */
  close() {
    this.parts.correct.open(null);
    for (const id of ["result", "correct", "downloads"]) show(byId(id), false);
  }

  /** Uploads files and goes on from there. @param {File[]} files */
  async take(files) {
    const turn = this.leave();
    if (turn === null) return;
    if (files.length === 0) {
      this.fail({ message: "There was no file in it that could be a scan", hint: "Drop NIfTI, NRRD, MHA, DICOM files or a zip." });
      return;
    }
    const control = new AbortController();
    const size = sizeInWords(files.reduce((sum, file) => sum + file.size, 0));
    const many = `${files.length} file${files.length > 1 ? "s" : ""}, ${size}`;
    const tell = (share) => this.parts.front.show({
      sign: "upload", title: share < 1 ? "Uploading" : "Reading the scan", text: many, share: share < 1 ? share : "busy",
      actions: [{ text: "Cancel", call: () => control.abort() }],
    });
    this.phase("uploading");
    this.pane("new");
    tell(0);
    await this.guarded(turn, async () => {
      const kept = await engine.upload(files, tell, control.signal);
      tell(1);
      const scan = await engine.scan(kept.id);
      if (turn !== this.turn) return;
      this.scan = scan;
      this.parts.setup.offerSeries(scan.facts.series ?? []);
      if (this.parts.setup.hasToChoose || this.parts.setup.models.length !== 1) this.choose();
      else if (this.lacksOrientation) this.askForOrientation();
      else await this.segment();
    });
  }

  /** Waits for a person to choose a model or a series. */
  choose() {
    this.phase("choosing");
    const series = this.parts.setup.hasToChoose;
    this.parts.front.show({
      sign: "question", title: series ? "Which series?" : "Which model?", kind: "choose",
      text: series ? "The scan has several. Choose beside the viewer, then segment." : "Choose beside the viewer, then segment.",
      actions: [{ text: "Segment", main: true, call: () => this.segment() }],
    });
    byId(series ? "series-0" : "model").focus();
  }

  get lacksOrientation() {
    return (this.scan.facts.needs ?? []).includes("assume_affine") && !this.parts.setup.settings.assume_affine;
  }

  /** The file does not say where its voxels lie: only a person can know. */
  askForOrientation() {
    this.phase("choosing");
    this.parts.front.show({
      sign: "warning", title: "This scan has no orientation", kind: "choose",
      text: "Its file does not say which side is left. If you know that it lies as usual (right to left, back to front, "
        + "down to up), go on, and check left and right in the result.",
      actions: [{ text: "It lies as usual", main: true, call: () => {
        byId("assume-affine").checked = true;
        this.segment();
      } }, { text: "Choose another scan", call: () => this.restart() }],
    });
  }

  /** Asks for a job, and follows it. */
  async segment() {
    const { setup } = this.parts;
    if (!this.scan || !setup.model) return;
    if (this.parts.correct.isUnsaved && !window.confirm("The correction is not saved. Leave it?")) return;
    this.stop();
    this.turn += 1;
    const { turn } = this;
    this.close();
    this.phase("running");
    this.parts.front.show({ sign: "spinner", title: "Asking for the segmentation", share: "busy", silent: true });
    await this.guarded(turn, async () => {
      this.watch(await engine.submit(this.scan.id, setup.model.name, setup.settings), turn);
      await this.showScan(turn);
    });
  }

  /** Opens a job of the list. */
  async open(job) {
    const turn = this.leave();
    if (turn === null) return;
    this.phase("running");
    this.parts.setup.choose(job.model);
    this.parts.front.show({ sign: "spinner", title: "Opening", share: "busy", silent: true });
    await this.guarded(turn, async () => {
      const [now, scan] = await Promise.all([engine.job(job.id), engine.scan(job.scan)]);
      if (turn !== this.turn) return;
      this.scan = scan;
      this.watch(now, turn);
      await this.showScan(turn);
    });
  }

  /** Shows the scan while its labels are made. */
  async showScan(turn) {
    const bytes = await engine.view(this.scan.id, this.job?.settings.series ?? []);
    if (turn !== this.turn) return;
    if (this.shown !== turn) {
      await this.parts.viewer.open(bytes);
      this.parts.toolbar.open(this.parts.setup.model?.channels ?? []);
      this.shown = turn;
    }
    document.body.dataset.scan = "true";
    if (engine.FINISHED.includes(this.job.state)) await this.showResult(turn);
    else if (this.told) this.tell(this.told);
  }

  /** Follows a job to its end. */
  watch(job, turn) {
    this.job = job;
    this.parts.changed();
    if (engine.ENDED.includes(job.state)) {
      this.ended(job, turn);
      return;
    }
    this.tell({ state: job.state });
    this.stop = engine.follow(job.id, (told) => {
      if (turn !== this.turn) return;
      if (told.end) this.ended(told.end, turn);
      else if (told.lost) this.fail(told.lost);
      else this.tell(told);
    });
  }

  /** How far a job is. */
  tell(told) {
    this.told = { ...this.told, ...told, offline: Boolean(told.offline) };
    this.parts.online(!this.told.offline);
    if (told.state === "running" || told.done !== undefined) this.told.state = "running";
    const { state, done, of, offline } = this.told;
    const waits = state !== "running";
    const docked = this.parts.viewer.hasScan;
    this.parts.front.show({
      sign: waits ? "clock" : "spinner", docked, kind: "progress",
      title: waits ? "Waiting for its turn" : "Segmenting",
      text: offline ? "The server does not answer; trying again …"
        : waits ? "Other scans are before this one." : of ? `${done} of ${of} windows` : "Getting ready",
      share: waits || !of ? "busy" : done / of,
      actions: [{ text: "Cancel", call: () => this.cancel() }],
    });
  }

  async cancel() {
    this.parts.front.show({ sign: "spinner", title: "Stopping", share: "busy", docked: this.parts.viewer.hasScan });
    await this.guarded(this.turn, () => engine.cancel(this.job.id));
  }

  async ended(job, turn) {
    this.job = job;
    this.told = null;
    this.parts.changed();
    if (job.state === "failed") this.fail(job.error ?? { message: "The segmentation failed" });
    else if (job.state === "cancelled") this.cancelled();
    else if (this.parts.viewer.hasScan && this.shown === turn) await this.guarded(turn, () => this.showResult(turn));
  }

  cancelled() {
    this.phase("failed");
    this.parts.front.show({
      sign: "stop", title: "Cancelled", docked: this.parts.viewer.hasScan, kind: "progress",
      text: "The scan is still here; segment it again when you like.",
      actions: [{ text: "Segment again", main: true, call: () => this.segment() }, { text: "New scan", call: () => this.restart() }],
    });
  }

  /** Lays the labels over the scan, and says what to make of them. */
  async showResult(turn) {
    const { viewer, table, correct } = this.parts;
    if (this.laid === turn) return;
    this.laid = turn;
    const { job } = this;
    const has = (form) => job.results.some((one) => one.form === form);
    const [bytes, doubt] = await Promise.all([
      engine.result(job.id, "labels"), has("uncertainty") ? engine.result(job.id, "uncertainty") : null]);
    if (turn !== this.turn) return;
    const map = new LabelMap(await readLabels(bytes), this.known(job), viewer.grid);
    table.open(map, job.summary);
    viewer.setLabels(map, table.visible);
    viewer.goToLabels();
    correct.open(map);
    this.parts.doubt(doubt);
    const words = showVerdict(byId("verdict"), job.summary);
    byId("result-model").textContent = `${job.model}, ${timeInWords(job.created_s)}`;
    this.offerDownloads();
    for (const id of ["result", "correct", "downloads"]) show(byId(id), true);
    this.phase("done");
    this.parts.front.hide();
    this.parts.say(`The segmentation is done. ${words}`);
    this.pane("result");
  }

  /** Labels of the model, by their values. */
  known(job) {
    const model = this.parts.setup.models.find((one) => one.name === job.model);
    return Object.entries(model?.labels ?? {})
      .filter(([, value]) => value !== 0)
      .sort(([, a], [, b]) => a - b)
      .map(([name, value]) => ({ name, value, colour: [...(model.colours?.[name] ?? [230, 159, 0])] }));
  }

  /** Keeps a correction on the server, which checks it. @returns {Promise<number>} */
  async save(bytes) {
    const number = await engine.correct(this.job.id, bytes);
    this.corrections.push(number);
    this.offerDownloads();
    return number;
  }

  offerDownloads() {
    this.parts.downloads.open(this.job, this.scan.facts.kind === "dicom", this.corrections);
  }

  pane(name) {
    this.parts.pane(name);
  }

  restart() {
    if (this.leave() === null) return;
    delete document.body.dataset.scan;
    this.empty();
    this.pane("new");
  }

  /** Runs a step; an error of an older turn is nobody's concern any more. */
  async guarded(turn, step) {
    try {
      await step();
      this.parts.online(true);
    } catch (error) {
      if (turn === this.turn) this.fail(error);
    }
  }

  /** Says what went wrong and what to do. */
  fail(error) {
    this.stop();
    if (error.kind === "login") {
      location.assign("login");
      return;
    }
    if (error.kind === "cancelled") {
      this.restart();
      return;
    }
    if (error.kind === "full") {
      this.wait(error);
      return;
    }
    this.parts.online(error.kind !== "offline");
    this.phase("failed");
    const again = this.scan ? { text: "Try again", main: true, call: () => this.segment() } : null;
    this.parts.front.show({
      sign: "error", kind: "error", title: error.kind === "offline" ? "The server does not answer" : "This did not work",
      text: errorInWords(error), docked: this.parts.viewer.hasScan,
      actions: [again, { text: this.scan ? "New scan" : "Choose another scan", main: !again, call: () => this.restart() }].filter(Boolean),
    });
  }

  /** The queue is full: counts down, then asks again. */
  wait(error) {
    const { turn } = this;
    let left = Math.ceil(error.retryAfter);
    this.phase("full");
    const tick = () => {
      if (turn !== this.turn) return;
      if (left <= 0) {
        this.segment();
        return;
      }
      this.parts.front.show({
        sign: "clock", kind: "wait", title: "The server is busy", share: 1 - left / Math.ceil(error.retryAfter), silent: left % 15 !== 0,
        text: `As many scans wait as may. Your scan is safe on the server; asking again in ${left} s.`,
        actions: [{ text: "Ask now", main: true, call: () => this.segment() }, { text: "Stop asking", call: () => this.restart() }],
      });
      left -= 1;
      setTimeout(tick, 1000);
    };
    tick();
  }
}

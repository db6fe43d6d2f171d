/** From files to a finished job: upload, choose, wait; and what to do when something fails. */

import { byId, show, sizeInWords } from "./dom.js";
import * as engine from "./engine.js";
import { graphicsGone } from "./view/trouble.js";
import { Showing } from "./showing.js";
import * as states from "./panels/states.js";

export class Flow {
  /** @param {Record<string, any>} parts the viewer, the panels, and what app.js lends: changed, online, pane, doubt, say */
  constructor(parts) {
    this.parts = parts;
    /** Grows with each new scan or job, so that late answers to older ones are known. */
    this.turn = 0;
    this.stop = () => {};
    this.showing = new Showing(parts);
    this.files = this.scan = this.job = this.told = null;
  }

  phase(name) {
    document.body.dataset.phase = name;
    const segment = byId("segment");
    show(segment, ["choosing", "done", "failed"].includes(name) && this.scan !== null);
    segment.textContent = name === "choosing" ? "Segment" : "Segment again";
    segment.classList.toggle("main", name === "choosing");
    for (const button of document.querySelectorAll(".bottom :is([data-pane=result], [data-pane=correct])")) {
      button.disabled = name !== "done";
    }
    if (name !== "running") document.title = name === "done" ? "Done – unetr" : "unetr";
  }

  /** Shows a state, at the lower edge where there is a scan to be seen. */
  front(told) {
    this.parts.front.show({ docked: this.parts.viewer.hasScan, ...told });
  }

  empty() {
    this.phase("empty");
    this.front(states.empty(this.parts.viewer.trouble, { files: () => byId("files").click(), folder: () => byId("folder").click() }));
  }

  /** Whether strokes that were not saved may be lost. */
  mayLeave() {
    return !this.parts.correct.isUnsaved || window.confirm("The correction is not saved. Leave it?");
  }

  /** Begins a turn: older answers count no more. */
  begin() {
    this.stop();
    this.stop = () => {};
    this.turn += 1;
    this.job = this.told = null;
    this.showing.forgetResult();
    return this.turn;
  }

  /** Lets go of the scan as well. */
  leave() {
    const turn = this.begin();
    this.files = this.scan = null;
    this.showing.forget();
    this.parts.setup.leaveScan();
    return turn;
  }

  restart() {
    if (!this.mayLeave()) return;
    this.leave();
    this.parts.changed();
    this.empty();
    this.parts.pane("new");
  }

  /** Uploads files and goes on from there. @param {File[] | Promise<File[]>} given */
  async take(given) {
    if (!this.mayLeave()) return;
    const turn = this.leave();
    this.phase("uploading");
    this.parts.pane("new");
    this.front(states.gathering(() => this.restart()));
    const files = await given;
    if (turn !== this.turn) return;
    this.files = files;
    if (files.length === 0) {
      this.fail({ message: "There was nothing in it that could be a scan", hint: "Drop NIfTI, NRRD, MHA, DICOM files or a zip." });
      return;
    }
    const control = new AbortController();
    const size = sizeInWords(files.reduce((sum, file) => sum + file.size, 0));
    const what = `${files.length} file${files.length > 1 ? "s" : ""}, ${size}`;
    this.stop = () => control.abort();
    const tell = (share) => turn === this.turn && this.front(states.uploading(what, share, () => this.restart()));
    tell(0);
    await this.guarded(turn, async () => {
      await this.parts.ready();
      if (turn !== this.turn) return;
      const kept = await engine.upload(files, tell, control.signal);
      const scan = await engine.scan(kept.id);
      if (turn !== this.turn) return;
      this.scan = scan;
      this.parts.setup.offerSeries(scan.facts.series ?? []);
      await this.chooseOrSegment();
    });
  }

  /** Segments, unless only a person can know with what. */
  async chooseOrSegment() {
    const { setup } = this.parts;
    const needs = this.scan.facts.needs ?? [];
    if (needs.includes("assume_affine") && !setup.settings.assume_affine) {
      this.phase("choosing");
      const goOn = () => {
        byId("assume-affine").checked = true;
        this.segment();
      };
      this.front(states.lacksOrientation({ goOn, restart: () => this.restart() }));
    } else if (setup.hasToChoose || setup.models.length > 1) {
      this.askForChoice();
    } else await this.segment();
  }

  /** Says what a person has to choose, and why again. @param {string | null} problem */
  askForChoice(problem = null) {
    const what = this.parts.setup.hasToChoose ? "series" : "model";
    this.phase("choosing");
    this.front(states.choosing(what, problem, () => this.segment()));
    byId(what === "series" ? "series-0" : "model").focus();
  }

  /** Asks for a job and follows it; the scan is shown meanwhile. */
  async segment() {
    const { setup } = this.parts;
    if (!this.scan || !setup.model || !this.mayLeave()) return;
    const turn = this.begin();
    if (setup.problem) {
      this.askForChoice(setup.problem);
      return;
    }
    const { settings } = setup;
    this.phase("running");
    this.front(states.busy("Asking for the segmentation"));
    await this.guarded(turn, () => Promise.all([
      engine.submit(this.scan.id, setup.model.name, settings).then((job) => turn === this.turn && this.watch(job)),
      this.showScan(turn, setup.model, settings.series),
    ]));
  }

  /** Opens a job of the list. */
  async open(job) {
    if (!this.mayLeave()) return;
    const turn = this.leave();
    this.phase("running");
    this.front(states.busy("Opening"));
    await this.guarded(turn, async () => {
      const [now, scan] = await Promise.all([engine.job(job.id), engine.scan(job.scan)]);
      if (turn !== this.turn) return;
      this.scan = scan;
      this.parts.setup.showJob(now, scan.facts.series ?? []);
      this.watch(now);
      await this.showScan(turn, this.parts.setup.madeBy(now), now.settings.series ?? []);
    });
  }

  /** Opens the scan in the viewer, and the result over it if it is made. */
  async showScan(turn, model, series) {
    await this.showing.openScan(this.scan, model, series);
    await this.showResult(turn);
  }

  /** Shows the result, if the scan and the labels are both there, and this is still wanted. */
  async showResult(turn) {
    if (turn !== this.turn) return;
    const words = await this.showing.showResult(this.job, this.scan, () => turn === this.turn);
    if (words === null) return;
    this.phase("done");
    if (this.showing.undrawn) this.front(states.undrawn(this.showing.undrawn, () => this.restart()));
    else this.parts.front.hide();
    this.parts.say(`The segmentation is done. ${words}`);
    this.parts.pane("result");
  }

  /** Follows a job to its end. */
  watch(job) {
    const { turn } = this;
    this.job = job;
    this.parts.changed();
    if (engine.ENDED.includes(job.state)) {
      this.ended(job);
      return;
    }
    this.tell({ state: job.state, reason: job.error?.message, stopping: job.cancelling, ...job.progress });
    this.stop = engine.follow(job.id, (told) => {
      if (turn !== this.turn) return;
      if (told.end) this.ended(told.end);
      else if (told.lost) this.fail(told.lost);
      else this.tell(told);
    });
  }

  /** How far a job is. */
  tell(news) {
    const reason = news.state ? news.reason : this.told?.reason; // of the state that it came with
    const isNew = news.state && news.state !== this.told?.state; // windows are those of the state before
    this.told = { ...this.told, ...(isNew ? { done: undefined, of: undefined } : {}), ...news, reason, offline: Boolean(news.offline) };
    if (news.done !== undefined) this.told.state = "running";
    if (engine.ENDED.includes(this.told.state)) return; // the end comes next
    this.parts.online(!this.told.offline);
    const { done, of } = this.told;
    document.title = of ? `${Math.round((100 * done) / of)} % – unetr` : "unetr";
    this.front(states.working(this.told, () => this.cancel()));
  }

  async cancel() {
    this.tell({ stopping: true });
    await this.guarded(this.turn, () => engine.cancel(this.job.id));
  }

  ended(job) {
    const { turn } = this;
    this.job = job;
    this.parts.changed();
    if (job.state === "failed") this.fail(job.error ?? { message: "The segmentation failed" });
    else if (job.state === "cancelled") {
      this.phase("failed");
      this.front(states.cancelled({ again: () => this.segment(), restart: () => this.restart() }));
    } else this.guarded(turn, () => this.showResult(turn));
  }

  /** Ends a login, after a question where strokes would be lost. */
  async logOut() {
    if (!this.mayLeave()) return;
    const turn = this.leave();
    this.empty();
    await this.guarded(turn, () => engine.logOut());
  }

  /** The browser has lost its graphics: nobody corrects what is not seen, and what was corrected can be saved. */
  stopDrawing() {
    const trouble = graphicsGone();
    this.parts.viewer.trouble = trouble;
    this.parts.correct.use(null);
    if (this.showing.scan) this.showing.scan.undrawn = trouble;
    if (this.parts.viewer.map) this.front(states.pictureGone(trouble, () => location.reload()));
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
    this.turn += 1; // what is still on its way, such as the answer to a request for a job, comes too late
    this.parts.online(error.kind !== "offline");
    if (error.kind === "login") location.assign("login");
    else if (error.kind === "full" && this.scan) this.askAgain(error.retryAfter);
    else if (error.kind !== "cancelled") {
      const { files } = this;
      const retake = files?.length > 0 && error.kind === "offline" ? () => this.take(files) : null;
      this.phase("failed");
      this.front(states.failed(error, { again: this.scan ? () => this.segment() : retake, restart: () => this.restart() }));
    }
  }

  /** The queue is full: counts down, then asks again. */
  askAgain(seconds) {
    const { turn } = this;
    let left = Math.ceil(seconds);
    this.phase("full");
    const tick = () => {
      if (turn !== this.turn) return;
      if (left <= 0) {
        this.segment();
        return;
      }
      this.front(states.full(left, Math.ceil(seconds), { now: () => this.segment(), restart: () => this.restart() }));
      left -= 1;
      setTimeout(tick, 1000);
    };
    tick();
  }
}

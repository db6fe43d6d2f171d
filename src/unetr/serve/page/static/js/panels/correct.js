/** Brush, eraser, undo, redo and saving. */

import { announce, byId, make, show } from "../dom.js";

const HOW = "Draw in a plane with the brush or the eraser.";

export class Correct {
  /**
   * @param {import("../view/brush.js").Brush} brush @param {import("./labels.js").LabelTable} table
   * @param {{onTool: (on: boolean) => void, onSave: (bytes: Uint8Array) => Promise<number>,
   *   onKeep: (bytes: Uint8Array) => void}} calls onKeep: what cannot be saved goes to the reader's own disk
   */
  constructor(brush, table, { onTool, onSave, onKeep }) {
    this.brush = brush;
    this.table = table;
    this.onTool = onTool;
    this.onSave = onSave;
    this.mode = null;
    /** The labels that are being saved: they are sent once, however often that is asked for. */
    this.saving = null;
    /** Why they could not be saved, in words. */
    this.problem = null;
    /** The version of the labels that the server has, and how that is told. */
    this.saved = 0;
    this.savedWords = HOW;
    byId("brush").addEventListener("click", () => this.use(this.mode === "brush" ? null : "brush"));
    byId("eraser").addEventListener("click", () => this.use(this.mode === "eraser" ? null : "eraser"));
    byId("undo").addEventListener("click", () => this.step("undo"));
    byId("redo").addEventListener("click", () => this.step("redo"));
    byId("brush-label").addEventListener("change", () => table.choose(Number(byId("brush-label").value)));
    byId("save-correction").addEventListener("click", () => this.save());
    byId("keep-correction").addEventListener("click", () => onKeep(this.map.bytes()));
    byId("brush-size").addEventListener("input", () => this.size(Number(byId("brush-size").value)));
  }

  /** Begins anew with other labels. @param {import("../view/labelmap.js").LabelMap | null} map */
  open(map) {
    this.map = map;
    this.saved = 0;
    this.savedWords = HOW;
    this.problem = null;
    byId("brush-label").replaceChildren(...(map?.labels ?? []).map((label, position) =>
      make("option", { value: position, text: label.name })));
    this.use(null);
    this.update();
  }

  /** Whether there are strokes that were not saved. */
  get isUnsaved() {
    return Boolean(this.map) && this.map.version !== this.saved;
  }

  /** @param {"brush" | "eraser" | null} mode */
  use(mode) {
    this.mode = this.map?.labels.length ? mode : null;
    for (const name of ["brush", "eraser"]) byId(name).setAttribute("aria-pressed", String(this.mode === name));
    this.aim();
    this.onTool(this.mode !== null);
  }

  /** What the brush gives, after another label was chosen. */
  aim() {
    const { chosen } = this.table;
    this.brush.slot = this.mode === null ? null : this.mode === "brush" ? chosen + 1 : 0;
    byId("brush-label").value = String(chosen);
    if (this.mode === "brush") this.table.reveal(chosen);
  }

  size(mm) {
    const input = byId("brush-size");
    input.value = String(Math.min(Number(input.max), Math.max(Number(input.min), mm)));
    this.brush.diameter = Number(input.value);
    byId("brush-size-value").textContent = `${input.value} mm`;
  }

  /** @param {"undo" | "redo"} way */
  step(way) {
    if (!this.map?.[way]()) return;
    this.brush.viewer.refreshLabels();
    this.update();
    announce(way === "undo" ? "Undone" : "Done again");
  }

  /** After a stroke. */
  update() {
    byId("undo").disabled = !this.map?.canUndo;
    byId("redo").disabled = !this.map?.canRedo;
    byId("save-correction").disabled = !this.isUnsaved || this.isSaving;
    byId("save-correction").setAttribute("aria-busy", String(this.isSaving));
    show(byId("keep-correction"), this.problem !== null && this.isUnsaved && !this.isSaving);
    if (this.map) this.table.update();
    byId("correction-state").textContent = this.words;
  }

  get isSaving() {
    return this.saving !== null && this.saving === this.map;
  }

  get words() {
    if (!this.map) return "";
    if (this.isSaving) return "The correction is being checked and saved …";
    return this.isUnsaved ? (this.problem ?? "Not saved yet.") : this.savedWords;
  }

  async save() {
    const { map } = this;
    if (!this.isUnsaved || this.isSaving || map.stroke) return;
    const { version } = map;
    this.saving = map;
    this.update();
    let problem = null;
    try {
      const number = await this.onSave(map.bytes());
      if (map === this.map) Object.assign(this, { saved: version, savedWords: `Saved as correction ${number}.` });
    } catch (error) {
      problem = ["Not saved.", error.message, error.hint].filter(Boolean).join(" ");
    }
    if (this.saving === map) this.saving = null;
    if (map !== this.map) return; // another result has been opened meanwhile
    this.problem = problem;
    this.update();
  }
}

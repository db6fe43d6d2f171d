/**
 * Labels as they are shown and changed. The screen has its own order of voxels (x to the right, y to the front, z up);
 * the file keeps its own. Only voxels that were changed are written back, each to where it came from.
 */

import { labelBytes } from "./nifti.js";

const MOST_STROKES = 200;
/** Of labels that no model names, so that they can be told apart. */
const COLOURS = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [213, 94, 0], [204, 121, 167], [200, 200, 200]];
/** What single precision makes of millimetres. */
const MOST_OFF_MM = 0.05;

/**
 * @typedef {{value: number, name: string, colour: number[]}} Label
 * @typedef {{dims: number[], step: number[], start: number[], inFile: number[], affine: number[][]}} Grid where screen
 *   voxel (x, y, z) lies in the file: the sum over axes of start + position * step. inFile: sizes in the file's order;
 *   affine: from the file's voxels to millimetres, three rows.
 */
export class LabelMap {
  /** @param {import("./nifti.js").Labels} file @param {Label[]} known @param {Grid} grid */
  constructor(file, known, grid) {
    if (!isSameGrid(file, grid)) throw new Error("The labels are not on the grid of the scan.");
    const inFile = file.voxels.length;
    this.file = file;
    this.isDrawn = true;
    this.grid = grid;
    this.labels = withUnknown(known, file.voxels);
    this.slotOf = new Map(this.labels.map((label, index) => [label.value, index + 1]));
    this.slotOf.set(0, 0);
    this.slots = new Uint8Array(inFile);
    this.counts = new Float64Array(this.labels.length + 1);
    this.each((screen, source) => {
      const slot = this.slotOf.get(file.voxels[source]);
      this.slots[screen] = slot;
      this.counts[slot] += 1;
    });
    this.first = this.counts.slice();
    this.done = [];
    this.undone = [];
    this.stroke = null;
    /** Strokes have numbers from 1 on; `bottom` is that of the last one that can no longer be undone. */
    this.strokes = 0;
    this.bottom = 0;
  }

  /** Names what the labels are now: 0 as they came, and the same number for the same labels. */
  get version() {
    return this.done.at(-1)?.number ?? this.bottom;
  }

  /** Calls with (index on the screen, index in the file) for every voxel. */
  each(call) {
    const { dims, step, start } = this.grid;
    let screen = 0;
    for (let z = 0; z < dims[2]; z += 1) {
      for (let y = 0; y < dims[1]; y += 1) {
        let source = start[0] + start[1] + start[2] + y * step[1] + z * step[2];
        for (let x = 0; x < dims[0]; x += 1, screen += 1, source += step[0]) call(screen, source);
      }
    }
  }

  /** Millilitres of the label at this position of `labels`, as it is now. */
  volumeMl(position) {
    return this.counts[position + 1] * this.file.voxelMl;
  }

  /** Millilitres that corrections added to it. */
  changeMl(position) {
    return (this.counts[position + 1] - this.first[position + 1]) * this.file.voxelMl;
  }

  get canUndo() {
    return this.done.length > 0;
  }

  get canRedo() {
    return this.undone.length > 0;
  }

  begin() {
    this.stroke = new Map();
  }

  /** Gives a voxel to a slot (0: to the background). Returns whether that changed it. */
  paint(index, slot) {
    const before = this.slots[index];
    if (before === slot) return false;
    if (!this.stroke.has(index)) this.stroke.set(index, before);
    this.put(index, slot);
    return true;
  }

  /** Ends the stroke, so that it can be undone as one. Returns how many voxels it changed. */
  commit() {
    const changed = [...(this.stroke ?? [])].map(([index, before]) => [index, before, this.slots[index]]);
    this.stroke = null;
    if (changed.length === 0) return 0;
    this.strokes += 1;
    this.done.push({ number: this.strokes, changed });
    if (this.done.length > MOST_STROKES) this.bottom = this.done.shift().number;
    this.undone = [];
    return changed.length;
  }

  /** Takes a stroke back that has not ended. */
  revert() {
    for (const [index, before] of this.stroke ?? []) this.put(index, before);
    this.stroke = null;
  }

  undo() {
    const stroke = this.stroke ? null : this.done.pop();
    if (!stroke) return false;
    for (const [index, before] of stroke.changed) this.put(index, before);
    this.undone.push(stroke);
    return true;
  }

  redo() {
    const stroke = this.stroke ? null : this.undone.pop();
    if (!stroke) return false;
    for (const [index, , after] of stroke.changed) this.put(index, after);
    this.done.push(stroke);
    return true;
  }

  put(index, slot) {
    this.counts[this.slots[index]] -= 1;
    this.counts[slot] += 1;
    this.slots[index] = slot;
  }

  /** The corrected file. */
  bytes() {
    const voxels = this.file.voxels.slice();
    const values = [0, ...this.labels.map((label) => label.value)];
    this.each((screen, source) => {
      const value = values[this.slots[screen]];
      if (voxels[source] !== value) voxels[source] = value;
    });
    return labelBytes(this.file, voxels);
  }
}

/** What a table of labels shows where the labels themselves cannot be drawn. @param {Label[]} labels */
export function volumesAlone(labels, volumesMl) {
  return { labels, isDrawn: false, volumeMl: (position) => volumesMl[labels[position].name] ?? 0, changeMl: () => 0 };
}

/** Whether labels lie where the scan lies: as many voxels along each axis, and no corner further off than a rounding. */
function isSameGrid(file, grid) {
  if (file.dims.some((size, axis) => size !== grid.inFile[axis])) return false;
  if (file.affine === null) return true;
  const off = (row, column) => Math.abs(file.affine[row][column] - grid.affine[row][column]);
  const sizes = [...file.dims, 1];
  return [0, 1, 2].every((row) => sizes.reduce((sum, size, column) => sum + size * off(row, column), 0) < MOST_OFF_MM);
}

/** The known labels, and those that the file has besides. */
function withUnknown(known, voxels) {
  const labels = [...known];
  const seen = new Set([0, ...known.map((label) => label.value)]);
  let last = 0;
  for (let i = 0; i < voxels.length; i += 1) {
    const value = voxels[i];
    if (value === last || seen.has(value)) continue;
    last = value;
    seen.add(value);
    labels.push({ value, name: `label ${value}`, colour: [...COLOURS[labels.length % COLOURS.length]] });
  }
  if (labels.length > 255) throw new Error("There are more than 255 labels; the page cannot show them.");
  return labels;
}

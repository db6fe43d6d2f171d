/** The scan in three planes and in 3D, with labels over it. The only module that knows niivue. */

import { NVImage, cmapper } from "../../vendor/niivue.js";
import { longestSide } from "./nifti.js";
import { Scene } from "./scene.js";
import { noGraphics, tooLong } from "./trouble.js";
import { leastOf } from "./windows.js";

/** niivue's numbers. */
const SLICES = { axial: 0, coronal: 1, sagittal: 2, all: 3, render: 4 };
const DRAG = { pan: 3, crosshair: 8, window: 9 };
const ALWAYS = 1;
const DRAW_TEXTURE = 33991;
const AXES = [[0, 1], [0, 2], [1, 2]];

export class Viewer {
  /** @param {HTMLCanvasElement} canvas @param {(place: any) => void} onPlace told where the crosshair is */
  constructor(canvas, onPlace) {
    this.canvas = canvas;
    this.nv = new Scene({
      logLevel: "silent",
      loadingText: "",
      backColor: [0.02, 0.025, 0.03, 1],
      crosshairColor: [0.4, 0.72, 1, 0.75],
      crosshairWidthUnit: "percent",
      crosshairWidth: 0.35,
      crosshairGap: 4,
      fontColor: [1, 0.9, 0.2, 1],
      fontMinPx: 15,
      showAllOrientationMarkers: true,
      fontSizeScaling: 0.3,
      isRadiologicalConvention: true,
      dragAndDropEnabled: false,
      multiplanarShowRender: ALWAYS,
      multiplanarPadPixels: 6,
      dragMode: DRAG.window,
      dragModePrimary: DRAG.crosshair,
      show3Dcrosshair: false,
      isAntiAlias: false,
      // A surface of the labels in 3D; the planes keep every voxel as it is.
      smoothDrawing: 1,
    });
    this.nv.onLocationChange = (place) => onPlace(this.describe(place));
    /** Count volumes that were asked for, so that one that comes late is known and not laid over another scan. */
    this.opened = 0;
    this.doubts = 0;
    this.map = null;
    this.layout = "all";
    this.opacity = 0.5;
    this.shown = true;
    /** By label: whether it is shown, if labels are. */
    this.visible = [];
  }

  /** Makes ready to draw. Returns why this browser cannot, or null. @returns {Promise<Error | null>} */
  async start() {
    const canDraw = document.createElement("canvas").getContext("webgl2") !== null;
    this.trouble = canDraw ? null : noGraphics();
    try {
      if (canDraw) await this.nv.attachToCanvas(this.canvas, false);
    } catch {
      this.trouble = noGraphics();
    }
    return this.trouble;
  }

  /**
   * Shows a scan. Raises CannotDrawError. Without a graphics card a large scan takes a minute, and each other window
   * of grey values as long again: the first one is there from the beginning.
   * @param {ArrayBuffer} bytes NIfTI @param {(least: number) => number[] | null} usual the window, from the least value
   * @returns {Promise<boolean>} false where another was asked for, or none, meanwhile
   */
  async open(bytes, usual = () => null) {
    this.clear();
    const mine = this.opened;
    if (this.trouble) throw this.trouble;
    const longest = longestSide(bytes);
    const most = this.nv.uiData.max3D;
    if (longest > most) throw tooLong(longest, most);
    const volume = await NVImage.new(bytes, "view.nii", "gray", 1);
    if (mine !== this.opened) return false;
    this.automatic = [volume.cal_min, volume.cal_max];
    this.least = leastOf(volume, 0);
    [volume.cal_min, volume.cal_max] = usual(this.least) ?? this.automatic;
    this.nv.addVolume(volume);
    this.nv.setRenderAzimuthElevation(135, 20);
    this.resetView();
    return true;
  }

  /** Takes the labels and the uncertainty away. */
  dropLabels() {
    this.map = null;
    if (this.nv.drawBitmap) this.nv.closeDrawing();
    this.setUncertainty(null);
  }

  clear() {
    this.opened += 1;
    this.dropLabels();
    for (const volume of [...this.nv.volumes].reverse()) this.nv.removeVolume(volume);
    if (!this.trouble) this.nv.drawScene();
  }

  get hasScan() {
    return this.nv.volumes.length > 0;
  }

  get channels() {
    return this.hasScan ? this.nv.volumes[0].nFrame4D : 0;
  }

  /** Shows another channel; with which window is for the caller to say next. */
  showChannel(index) {
    const [volume] = this.nv.volumes;
    volume.frame4D = index;
    volume.calMinMax(index);
    this.automatic = [volume.cal_min, volume.cal_max];
    this.least = leastOf(volume, index);
  }

  /** Where the voxels on the screen lie in the scan's file. @returns {import("./labelmap.js").Grid} */
  get grid() {
    const { dimsRAS, img2RASstep, img2RASstart, hdr } = this.nv.volumes[0];
    return { dims: dimsRAS.slice(1, 4), step: [...img2RASstep], start: [...img2RASstart], inFile: hdr.dims.slice(1, 4),
      affine: hdr.affine };
  }

  /** Millimetres between voxels, in the screen's order. */
  get spacing() {
    return this.nv.volumes[0].pixDimsRAS.slice(1, 4);
  }

  /** Lays labels over the scan. @param {import("./labelmap.js").LabelMap} map @param {boolean[]} visible */
  setLabels(map, visible) {
    this.map = map;
    this.nv.createEmptyDrawing();
    this.nv.drawBitmap = map.slots;
    this.colour(map.labels, visible);
    this.nv.refreshDrawing(true);
  }

  /** Colours and visibility of the labels. */
  colour(labels, visible) {
    this.visible = visible;
    const pick = (channel) => [0, ...labels.map((label) => label.colour[channel])];
    const alpha = [0, ...labels.map((_, index) => (visible[index] ? 255 : 0))];
    const names = ["", ...labels.map((label) => label.name)];
    const entries = { R: pick(0), G: pick(1), B: pick(2), A: alpha, I: names.map((_, index) => index), labels: names };
    this.nv.drawLut = cmapper.makeDrawLut(entries);
    this.nv.refreshColormaps();
    this.setOpacity(this.opacity);
  }

  setOpacity(share) {
    this.opacity = share;
    // An edge stays when the filling is nearly clear.
    this.nv.drawRimOpacity = this.shown && this.map ? Math.min(1, share + 0.35) : -1;
    this.nv.setDrawOpacity(this.shown ? Math.max(0.02, share) : 0);
  }

  /** How much of the scan is seen in 3D, over the labels within it. */
  setClarity(share) {
    this.nv.clarity = share;
    this.nv.drawScene();
  }

  showLabels(shown) {
    this.shown = shown;
    this.setOpacity(this.opacity);
  }

  /** After labels have changed everywhere. */
  refreshLabels() {
    this.nv.refreshDrawing(true);
  }

  /** After labels have changed in a box of the screen's voxels: only that goes to the graphics card. */
  refreshBox(low, high) {
    if (this.nv.opts.is2DSliceShader) {
      this.nv.refreshDrawing(true);
      return;
    }
    const { gl } = this.nv;
    const [nx, ny] = this.grid.dims;
    const stores = [[gl.UNPACK_ALIGNMENT, 1, 1], [gl.UNPACK_ROW_LENGTH, nx, 0], [gl.UNPACK_IMAGE_HEIGHT, ny, 0],
      [gl.UNPACK_SKIP_PIXELS, low[0], 0], [gl.UNPACK_SKIP_ROWS, low[1], 0], [gl.UNPACK_SKIP_IMAGES, low[2], 0]];
    gl.activeTexture(DRAW_TEXTURE);
    gl.bindTexture(gl.TEXTURE_3D, this.nv.drawTexture);
    for (const [name, value] of stores) gl.pixelStorei(name, value);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, ...low, ...low.map((start, axis) => high[axis] - start + 1), gl.RED,
      gl.UNSIGNED_BYTE, this.map.slots);
    for (const [name, , usual] of stores) gl.pixelStorei(name, usual);
    this.nv.drawScene();
  }

  /** Lays the uncertainty over the scan, or takes it away. @param {ArrayBuffer | null} bytes NIfTI, 0 to 1 */
  async setUncertainty(bytes) {
    this.doubts += 1;
    const mine = this.doubts;
    if (this.nv.volumes.length > 1) this.nv.removeVolume(this.nv.volumes[1]);
    if (!bytes) return;
    const volume = await NVImage.new(bytes, "uncertainty.nii", "inferno", 0.65, null, 0.1, 1);
    if (mine !== this.doubts) return;
    this.nv.addVolume(volume);
  }

  setLayout(name) {
    this.layout = name;
    this.nv.setSliceType(SLICES[name]);
  }

  /** What a drag with the main button does: "crosshair", "window" or "pan". */
  setTool(name) {
    this.nv.opts.dragModePrimary = DRAG[name] ?? DRAG.crosshair;
  }

  /** The range of values from black to white; null for the one that fits the scan. */
  setWindow(range) {
    const [low, high] = range ?? this.automatic;
    const volume = this.nv.volumes[0];
    volume.cal_min = low;
    volume.cal_max = high;
    this.nv.updateGLVolume();
    this.nv.createOnLocationChange();
  }

  get window() {
    const { cal_min: low, cal_max: high } = this.nv.volumes[0];
    return [low, high];
  }

  zoom(factor) {
    const [x, y, z, scale] = this.nv.scene.pan2Dxyzmm;
    this.nv.setPan2Dxyzmm([x, y, z, Math.min(12, Math.max(0.5, scale * factor))]);
  }

  resetView() {
    this.nv.scene.crosshairPos = [0.5, 0.5, 0.5];
    this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
  }

  move(x, y, z) {
    this.nv.moveCrosshairInVox(x, y, z);
  }

  /** Puts the crosshair where most of the labels are, so that the first view shows them. */
  goToLabels() {
    const { dims } = this.map.grid;
    const sums = [0, 0, 0];
    let count = 0;
    for (let index = 0; index < this.map.slots.length; index += 1) {
      if (this.map.slots[index] === 0) continue;
      sums[0] += index % dims[0];
      sums[1] += Math.floor(index / dims[0]) % dims[1];
      sums[2] += Math.floor(index / (dims[0] * dims[1]));
      count += 1;
    }
    if (count === 0) return;
    this.nv.scene.crosshairPos = this.nv.vox2frac(sums.map((sum) => Math.round(sum / count)));
    this.nv.createOnLocationChange();
    this.nv.drawScene();
  }

  /**
   * The voxel under a point of the canvas, and the two axes of its plane; null outside of the planes.
   * @returns {{voxel: number[], axes: number[], pixelsPerMm: number} | null}
   */
  pick(x, y) {
    const ratio = this.nv.uiData.dpr || 1;
    const tile = this.nv.tileIndex(x * ratio, y * ratio);
    const slice = this.nv.screenSlices[tile];
    if (!slice || slice.axCorSag > 2) return null;
    const place = this.nv.screenXY2TextureFrac(x * ratio, y * ratio, tile);
    if (place[0] < 0) return null;
    const width = Math.abs(slice.leftTopWidthHeight[2] / slice.fovMM[0]) / ratio;
    return { voxel: this.voxelAt(place), axes: AXES[slice.axCorSag], pixelsPerMm: width };
  }

  /** The voxel at a place of 0 to 1 along each axis. For niivue, 1 is in a voxel beyond the last one. */
  voxelAt(place) {
    const { dims } = this.grid;
    return [...this.nv.frac2vox(place)].map((at, axis) => Math.min(dims[axis] - 1, Math.max(0, at)));
  }

  slotAt([x, y, z]) {
    const [nx, ny] = this.grid.dims;
    return this.map.slots[x + nx * (y + ny * z)];
  }

  /** Where the crosshair is, in words and numbers. */
  describe(place) {
    const slot = this.map ? this.slotAt(this.voxelAt(this.nv.scene.crosshairPos)) : 0;
    return {
      mm: [...place.mm].slice(0, 3),
      value: place.values?.[0]?.value ?? null,
      label: slot > 0 ? this.map.labels[slot - 1].name : null,
    };
  }
}

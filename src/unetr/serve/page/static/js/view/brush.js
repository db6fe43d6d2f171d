/** Brush and eraser: a disc in the plane that the pointer is over, as wide as chosen, one stroke from down to up. */

export class Brush {
  /**
   * @param {HTMLElement} surface around the canvas @param {import("./viewer.js").Viewer} viewer
   * @param {HTMLElement} ring shows how wide it is @param {(voxels: number) => void} onStroke
   */
  constructor(surface, viewer, ring, onStroke) {
    this.surface = surface;
    this.viewer = viewer;
    this.ring = ring;
    this.onStroke = onStroke;
    /** null: off; otherwise the slot that is given, 0 to erase. */
    this.slot = null;
    /** Of the disc, in millimetres. */
    this.diameter = 3;
    /** Where the stroke is; null between strokes. */
    this.last = null;
    /** Whether mouse and touch events are the brush's: also that which follows the end of a stroke. */
    this.keeps = false;
    this.box = null;
    const listen = (type, call) => surface.addEventListener(type, call, { capture: true, passive: false });
    listen("pointerdown", (event) => this.down(event));
    listen("pointermove", (event) => this.over(event));
    listen("pointerup", (event) => this.up(event));
    listen("pointercancel", (event) => this.up(event));
    surface.addEventListener("pointerleave", () => (ring.hidden = true));
    // niivue listens to these; while a stroke is drawn they are the brush's.
    for (const type of ["mousedown", "mousemove", "mouseup", "touchstart", "touchmove", "touchend", "touchcancel"]) {
      listen(type, (event) => this.keeps && (event.stopPropagation(), event.preventDefault()));
    }
  }

  get isOn() {
    return this.slot !== null && this.viewer.map !== null && !this.viewer.trouble;
  }

  down(event) {
    if (this.last && !event.isPrimary) this.drop();
    if (!this.isOn || event.button !== 0 || !event.isPrimary) return;
    const found = this.find(event);
    if (!found) return;
    event.stopPropagation();
    this.surface.setPointerCapture(event.pointerId);
    this.viewer.map.begin();
    this.last = found;
    this.keeps = true;
    this.stamp(found);
    this.flush();
  }

  over(event) {
    const found = this.isOn ? this.find(event) : null;
    this.showRing(event, found);
    if (!this.last) return;
    event.stopPropagation();
    if (!found || found.axes.join() !== this.last.axes.join()) return;
    const across = 3 - found.axes[0] - found.axes[1];
    // Slices that were only turned over between two places are not drawn in.
    if (found.voxel[across] === this.last.voxel[across]) this.line(this.last, found);
    else this.stamp(found);
    this.last = found;
    this.flush();
  }

  up(event) {
    if (!this.last) return;
    event.stopPropagation();
    this.last = null;
    setTimeout(() => (this.keeps = false));
    const changed = this.viewer.map?.commit() ?? 0;
    this.viewer.refreshLabels();
    this.onStroke(changed);
  }

  /** A second finger means to move the picture: what the first one drew on its way is taken back. */
  drop() {
    this.last = null;
    this.keeps = false;
    this.viewer.map?.revert();
    this.viewer.refreshLabels();
    this.onStroke(0);
  }

  find(event) {
    const frame = this.viewer.canvas.getBoundingClientRect();
    return this.viewer.pick(event.clientX - frame.left, event.clientY - frame.top);
  }

  showRing(event, found) {
    this.ring.hidden = !found;
    if (!found) return;
    const frame = this.surface.getBoundingClientRect();
    const size = Math.max(4, this.diameter * found.pixelsPerMm);
    this.ring.style.width = this.ring.style.height = `${size}px`;
    this.ring.style.left = `${event.clientX - frame.left - size / 2}px`;
    this.ring.style.top = `${event.clientY - frame.top - size / 2}px`;
  }

  /** Discs close enough to each other that a fast stroke has no gaps. */
  line(from, to) {
    const steps = Math.max(1, ...from.axes.map((axis) => Math.abs(to.voxel[axis] - from.voxel[axis])));
    for (let step = 1; step <= steps; step += 1) {
      const voxel = from.voxel.map((start, axis) => Math.round(start + ((to.voxel[axis] - start) * step) / steps));
      this.stamp({ ...to, voxel });
    }
  }

  /**
   * Gives the voxels whose centres are in the disc to the slot; at least the one that was met. Those of a label that is
   * hidden stay: nobody changes what is not seen.
   */
  stamp({ voxel, axes: [a, b] }) {
    const { dims } = this.viewer.grid;
    const spacing = this.viewer.spacing;
    const radius = this.diameter / 2;
    const reach = [a, b].map((axis) => Math.floor(radius / spacing[axis]));
    const stride = [1, dims[0], dims[0] * dims[1]];
    const middle = voxel[0] + voxel[1] * stride[1] + voxel[2] * stride[2];
    for (let j = -reach[1]; j <= reach[1]; j += 1) {
      for (let i = -reach[0]; i <= reach[0]; i += 1) {
        if (Math.hypot(i * spacing[a], j * spacing[b]) > radius) continue;
        const place = voxel.slice();
        place[a] += i;
        place[b] += j;
        if (place[a] < 0 || place[b] < 0 || place[a] >= dims[a] || place[b] >= dims[b]) continue;
        const index = middle + i * stride[a] + j * stride[b];
        const before = this.viewer.map.slots[index];
        if (before > 0 && !this.viewer.visible[before - 1]) continue;
        if (this.viewer.map.paint(index, this.slot)) this.widen(place);
      }
    }
  }

  widen(place) {
    if (!this.box) this.box = [place.slice(), place.slice()];
    place.forEach((at, axis) => {
      this.box[0][axis] = Math.min(this.box[0][axis], at);
      this.box[1][axis] = Math.max(this.box[1][axis], at);
    });
  }

  /** Draws what has changed, once for each picture of the screen. */
  flush() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      if (this.box && this.viewer.map) this.viewer.refreshBox(...this.box);
      this.box = null;
    });
  }
}

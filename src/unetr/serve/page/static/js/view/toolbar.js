/** Layouts, what a drag does, windows of grey values, channels. */

import { byId, make, show } from "../dom.js";
import { HOUNSFIELD_NAMES, inHounsfield, rangeOf } from "./windows.js";

export class Toolbar {
  /**
   * @param {import("./viewer.js").Viewer} viewer
   * @param {{onTool: () => void, onLayout: (name: string) => void}} calls onTool: a drag does something else from now on
   */
  constructor(viewer, { onTool, onLayout }) {
    this.viewer = viewer;
    this.onTool = onTool;
    this.onLayout = onLayout;
    byId("layouts").addEventListener("click", (event) => this.layout(event.target.closest("[data-layout]")?.dataset.layout));
    byId("tools").addEventListener("click", (event) => this.tool(event.target.closest("[data-tool]")?.dataset.tool));
    byId("window").addEventListener("change", () => this.useWindow());
    byId("channel").addEventListener("change", () => this.showChannel(Number(byId("channel").value)));
    byId("reset-view").addEventListener("click", () => this.reset());
  }

  /** After another scan was opened. */
  open() {
    show(byId("toolbar"), true);
    show(byId("place"), true);
    const count = this.viewer.channels;
    show(byId("channel-field"), count > 1);
    byId("channel").replaceChildren(...Array.from({ length: count }, (_, index) =>
      make("option", { value: index, text: this.channels[index] ?? `${index + 1}` })));
    this.offerWindows(0);
  }

  /**
   * Before another scan is opened. @param {string[]} channels names, of the model
   * @param {(string | null)[]} modalities of the channels, as far as the scan tells them
   */
  isFor(channels, modalities) {
    this.channels = channels;
    this.modalities = modalities;
  }

  /** The range of values that a scan is shown with at first; null for the one that fits it. */
  usualWindow(least) {
    return this.known(0, least) === "yes" ? rangeOf(HOUNSFIELD_NAMES[0]) : null;
  }

  known(index, least) {
    return inHounsfield({ modality: this.modalities[index] ?? null, channel: this.channels[index] ?? null, least });
  }

  showChannel(index) {
    this.viewer.showChannel(index);
    this.offerWindows(index);
    this.useWindow();
  }

  /** Those that make sense for a channel, the usual one chosen. */
  offerWindows(index) {
    const known = this.known(index, this.viewer.least);
    const named = HOUNSFIELD_NAMES.map((name) => option(name));
    byId("window").replaceChildren(option("automatic"), ...(known === "yes" ? named : []), option("by hand"),
      ...(known === "perhaps" ? [make("optgroup", { label: "if this is CT" }, ...named)] : []));
    byId("window").value = known === "yes" ? HOUNSFIELD_NAMES[0] : "automatic";
  }

  close() {
    show(byId("toolbar"), false);
    show(byId("place"), false);
  }

  layout(name) {
    if (!name || !this.viewer.hasScan) return;
    this.viewer.setLayout(name);
    press("layouts", "layout", name);
    this.onLayout(name);
  }

  tool(name) {
    if (!name) return;
    this.viewer.setTool(name);
    press("tools", "tool", name);
    this.onTool();
  }

  /** The brush has the drag, so that no tool is pressed. */
  giveAway() {
    press("tools", "tool", null);
  }

  useWindow() {
    const name = byId("window").value;
    if (name === "by hand") {
      this.tool("window");
      return;
    }
    this.viewer.setWindow(rangeOf(name));
  }

  reset() {
    this.viewer.resetView();
    if (this.viewer.map) this.viewer.goToLabels();
  }
}

function option(name) {
  return make("option", { value: name, text: name });
}

function press(group, attribute, value) {
  for (const button of byId(group).querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset[attribute] === value));
  }
}

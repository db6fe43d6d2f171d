/** Layouts, what a drag does, windows of grey values, channels. */

import { byId, make, show } from "../dom.js";

/** Centre and width in Hounsfield units. */
const HOUNSFIELD = {
  "soft tissue": [50, 400],
  lung: [-600, 1500],
  bone: [400, 1800],
  brain: [40, 80],
  liver: [60, 160],
  vessels: [200, 600],
};

export class Toolbar {
  /** @param {import("./viewer.js").Viewer} viewer @param {() => void} onTool a drag does something else from now on */
  constructor(viewer, onTool) {
    this.viewer = viewer;
    this.onTool = onTool;
    byId("layouts").addEventListener("click", (event) => this.layout(event.target.closest("[data-layout]")?.dataset.layout));
    byId("tools").addEventListener("click", (event) => this.tool(event.target.closest("[data-tool]")?.dataset.tool));
    byId("window").addEventListener("change", () => this.useWindow());
    byId("channel").addEventListener("change", () => viewer.showChannel(Number(byId("channel").value)));
    byId("reset-view").addEventListener("click", () => this.reset());
  }

  /** After another scan was opened. @param {string[]} channels names, of the model */
  open(channels) {
    show(byId("toolbar"), true);
    show(byId("place"), true);
    const presets = this.viewer.hasHounsfieldUnits ? Object.keys(HOUNSFIELD) : [];
    const names = ["automatic", ...presets, "by hand"];
    byId("window").replaceChildren(...names.map((name) => make("option", { value: name, text: name })));
    if (presets.length > 0) {
      byId("window").value = "soft tissue";
      this.useWindow();
    }
    const count = this.viewer.channels;
    show(byId("channel-field"), count > 1);
    byId("channel").replaceChildren(...Array.from({ length: count }, (_, index) =>
      make("option", { value: index, text: channels[index] ?? `${index + 1}` })));
  }

  close() {
    show(byId("toolbar"), false);
    show(byId("place"), false);
  }

  layout(name) {
    if (!name || !this.viewer.hasScan) return;
    this.viewer.setLayout(name);
    press("layouts", "layout", name);
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
    const [centre, width] = HOUNSFIELD[name] ?? [];
    this.viewer.setWindow(centre === undefined ? null : [centre - width / 2, centre + width / 2]);
  }

  reset() {
    this.viewer.resetView();
    if (this.viewer.map) this.viewer.goToLabels();
  }
}

function press(group, attribute, value) {
  for (const button of byId(group).querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset[attribute] === value));
  }
}

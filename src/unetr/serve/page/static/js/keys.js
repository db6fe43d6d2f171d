/** The keyboard, and the help that tells of it. */

import { byId, make } from "./dom.js";

const GROUPS = [
  ["Look", [
    ["1 – 5", "All planes, axial, coronal, sagittal, 3D"],
    ["← → ↑ ↓", "Move the crosshair"],
    ["Page Up, Page Down", "Next slice up or down"],
    ["+ −", "Zoom"],
    ["V, W, M", "Drag moves the crosshair, sets brightness, moves the picture"],
    ["L", "Show or hide all labels"],
    ["R", "Reset the view"],
  ]],
  ["Correct", [
    ["B, E", "Brush, eraser"],
    ["[ ]", "Smaller or larger brush"],
    ["N", "Next label; what is hidden is not changed"],
    ["Ctrl Z, Ctrl Shift Z", "Undo, redo"],
    ["Ctrl S", "Save the correction"],
    ["Esc", "Put the brush away, close this help"],
  ]],
];
const ADVICE = [
  "The patient's right is on the left of the axial and coronal picture, as in radiology.",
  "With the mouse: the wheel goes through slices, the right button sets brightness and contrast. On a touch screen: "
    + "drag with one finger, go through slices with two.",
  "Files go to this server and nowhere else. It removes them after a while. Names of files are not sent.",
];
const LAYOUTS = { 1: "all", 2: "axial", 3: "coronal", 4: "sagittal", 5: "render" };
const MOVES = {
  ArrowLeft: [1, 0, 0],
  ArrowRight: [-1, 0, 0],
  ArrowUp: [0, 1, 0],
  ArrowDown: [0, -1, 0],
  PageUp: [0, 0, 1],
  PageDown: [0, 0, -1],
};

/** Fills the help, and listens. @param {Record<string, any>} parts of the page, and toggleLabels() */
export function listenToKeys(parts) {
  byId("help-body").replaceChildren(...GROUPS.map(([title, keys]) =>
    make("section", {}, make("h3", { text: title }), make("dl", {}, ...keys.flatMap(([key, does]) =>
      [make("dt", {}, ...key.split(", ").flatMap((one, index) => [index > 0 ? " " : "", make("kbd", { text: one })])),
        make("dd", { text: does })])))),
  make("section", {}, make("h3", { text: "Good to know" }), ...ADVICE.map((text) => make("p", { text }))));
  const help = byId("help");
  byId("open-help").addEventListener("click", () => help.showModal());
  byId("close-help").addEventListener("click", () => help.close());
  window.addEventListener("keydown", (event) => pressed(event, parts), { capture: true });
}

function pressed(event, parts) {
  if (byId("help").open) return;
  if (event.ctrlKey || event.metaKey) {
    withControl(event, parts);
    return;
  }
  const writes = event.target.closest?.("input:not([type=checkbox], [type=radio], [type=range]), select, textarea");
  if (event.altKey || (writes && event.key !== "Escape")) return;
  const onCanvas = event.target === parts.viewer.canvas;
  if (event.key in MOVES) {
    // Elsewhere, arrows scroll a panel or move between radio buttons.
    if (!onCanvas || !parts.viewer.hasScan) return;
    parts.viewer.move(...MOVES[event.key]);
  } else if (!single(event.key, parts)) {
    // niivue has keys of its own, which are not those of this page.
    if (onCanvas && event.key !== "Tab") event.stopPropagation();
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}

function withControl(event, { correct }) {
  const key = event.key.toLowerCase();
  if (!correct.map || !["z", "y", "s"].includes(key)) return;
  event.preventDefault();
  if (key === "s") correct.save();
  else correct.step(key === "y" || event.shiftKey ? "redo" : "undo");
}

/** Returns whether the key means something. */
function single(key, { viewer, toolbar, correct, table, toggleLabels }) {
  if (key === "?") byId("help").showModal();
  else if (!viewer.hasScan) return false;
  else if (key in LAYOUTS) toolbar.layout(LAYOUTS[key]);
  else if (key === "+" || key === "=") viewer.zoom(1.25);
  else if (key === "-") viewer.zoom(0.8);
  else {
    const does = {
      v: () => toolbar.tool("crosshair"),
      w: () => toolbar.tool("window"),
      m: () => toolbar.tool("pan"),
      r: () => toolbar.reset(),
      l: toggleLabels,
      b: () => correct.use(correct.mode === "brush" ? null : "brush"),
      e: () => correct.use(correct.mode === "eraser" ? null : "eraser"),
      n: () => correct.map?.labels.length && table.choose((table.chosen + 1) % correct.map.labels.length),
      escape: () => correct.use(null),
      "[": () => correct.size(correct.brush.diameter - 1),
      "]": () => correct.size(correct.brush.diameter + 1),
    }[key.toLowerCase()];
    if (!does) return false;
    does();
  }
  return true;
}

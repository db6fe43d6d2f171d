/** The page: makes its parts and ties them to each other. */

import { announce, byId, saveAs, show } from "./dom.js";
import * as engine from "./engine.js";
import { Flow } from "./flow.js";
import { listenToKeys } from "./keys.js";
import { Brush } from "./view/brush.js";
import { Toolbar } from "./view/toolbar.js";
import { Viewer } from "./view/viewer.js";
import { Correct } from "./panels/correct.js";
import { Downloads } from "./panels/downloads.js";
import { wanted, watchDrops } from "./panels/drop.js";
import { Front } from "./panels/front.js";
import { JobList } from "./panels/jobs.js";
import { LabelTable } from "./panels/labels.js";
import { Setup } from "./panels/setup.js";

const ASK_AGAIN_MS = 10_000;

const viewer = new Viewer(byId("canvas"), showPlace);
const front = new Front(byId("front"));
const setup = new Setup(() => show(byId("segment"), flow.scan !== null && document.body.dataset.phase !== "running"));
const table = new LabelTable(byId("labels"), {
  onLook: () => viewer.map && viewer.colour(viewer.map.labels, table.visible),
  onChoose: () => {
    if (correct.mode === "eraser") correct.use("brush");
    else correct.aim();
  },
});
const brush = new Brush(byId("surface"), viewer, byId("ring"), () => correct.update());
const toolbar = new Toolbar(viewer, { onTool: () => correct.use(null), onLayout });
const correct = new Correct(brush, table, {
  onTool: (on) => {
    byId("surface").dataset.drawing = String(on);
    if (on) showLabels(true); // nobody draws what is not seen
    if (on) toolbar.giveAway();
    else if (!document.querySelector("#tools [aria-pressed=true]")) toolbar.tool("crosshair");
  },
  onSave: (bytes) => flow.showing.save(bytes),
  onKeep: (bytes) => saveAs(`${flow.job.id.slice(0, 8)}.corrected.labels.nii`, bytes),
});
const downloads = new Downloads((error) => {
  byId("download-note").textContent = `Not downloaded. ${error.message}`;
  show(byId("download-note"), true);
});
const flow = new Flow({
  viewer, front, setup, table, correct, downloads, toolbar, online, pane, doubt, ready, showLabels,
  changed: refreshJobs, say: announce,
});

const list = new JobList(byId("jobs"), (job) => flow.open(job));
let asked = 0;

/** Whether the server answers. */
function online(yes) {
  const place = byId("connection");
  if (place.dataset.online === String(yes)) return;
  place.dataset.online = String(yes);
  byId("connection-text").textContent = yes ? "Connected" : "Offline";
}

/** On a narrow screen, the panel below the viewer. */
function pane(name) {
  document.body.dataset.pane = name;
  for (const button of document.querySelectorAll(".bottom button")) {
    button.setAttribute("aria-pressed", String(button.dataset.pane === name));
  }
}

/** The map of where the model is unsure, if the job has one. */
async function doubt(bytes) {
  show(byId("uncertainty-field"), bytes !== null);
  byId("uncertainty").checked = false;
  byId("uncertainty").onchange = () => viewer.setUncertainty(byId("uncertainty").checked ? bytes : null);
  await viewer.setUncertainty(null);
}

/** Shows or hides all labels, and says so where they would be looked for. */
function showLabels(shown) {
  viewer.showLabels(shown);
  byId("opacity").disabled = !shown;
  byId("opacity-value").textContent = shown ? `${byId("opacity").value} %` : "off (L)";
}

/** A control of what is not on the screen says where to find it. */
function onLayout(name) {
  const isSeen = ["all", "render"].includes(name);
  byId("clarity").disabled = !isSeen;
  show(byId("clarity-note"), !isSeen);
}

async function refreshJobs() {
  asked += 1;
  const mine = asked;
  try {
    const jobs = await engine.jobs();
    if (mine !== asked) return; // a newer answer is on its way, or here
    show(byId("no-jobs"), jobs.length === 0);
    list.show(jobs, flow.job?.id ?? null);
    online(true);
  } catch (error) {
    // Strokes are not left behind: they can be saved after a login in another window.
    if (error.kind === "login" && !correct.isUnsaved) location.assign("login");
    if (error.kind === "offline") online(false);
  }
}

function showPlace({ mm, value, label }) {
  const [x, y, z] = mm.map((one) => Math.abs(one).toFixed(1));
  const where = `${x} ${mm[0] < 0 ? "L" : "R"}, ${y} ${mm[1] < 0 ? "P" : "A"}, ${z} ${mm[2] < 0 ? "I" : "S"} mm`;
  const grey = typeof value === "number" ? `value ${Number(value.toPrecision(5))}` : "";
  byId("place").textContent = [where, grey, label ?? "no label"].filter(Boolean).join(" · ");
}

function toggleLabels() {
  showLabels(!viewer.shown);
  announce(viewer.shown ? "Labels shown" : "Labels hidden");
}

function listen() {
  watchDrops(byId("veil"), (files) => flow.take(files));
  for (const [button, input] of [["choose-files", "files"], ["choose-folder", "folder"]]) {
    byId(button).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", () => {
      const files = wanted([...byId(input).files]);
      byId(input).value = "";
      flow.take(files);
    });
  }
  byId("canvas").addEventListener("webglcontextlost", () => flow.stopDrawing());
  // Nobody draws what is not seen.
  byId("surface").addEventListener("pointerdown", () => brush.isOn && !viewer.shown && showLabels(true), { capture: true });
  byId("segment").addEventListener("click", () => flow.segment());
  byId("log-out").addEventListener("click", () => flow.logOut());
  byId("opacity").addEventListener("input", () => {
    byId("opacity-value").textContent = `${byId("opacity").value} %`;
    viewer.setOpacity(Number(byId("opacity").value) / 100);
  });
  byId("clarity").addEventListener("input", () => {
    byId("clarity-value").textContent = `${byId("clarity").value} %`;
    viewer.setClarity(Number(byId("clarity").value) / 100);
  });
  for (const button of document.querySelectorAll(".bottom button")) {
    button.addEventListener("click", () => pane(button.dataset.pane));
  }
  window.addEventListener("beforeunload", (event) => correct.isUnsaved && event.preventDefault());
  window.addEventListener("offline", () => online(false));
  window.addEventListener("online", refreshJobs);
  setInterval(() => document.visibilityState === "visible" && refreshJobs(), ASK_AGAIN_MS);
  listenToKeys({ viewer, toolbar, correct, table, toggleLabels });
}

let prepared = null;

/** Until the page knows its server and the models. What failed is tried again by the next who asks. */
function ready() {
  prepared ??= prepare().catch((error) => {
    prepared = null;
    throw error;
  });
  return prepared;
}

async function prepare() {
  const [loggedIn] = await Promise.all([engine.start(), viewing]);
  show(byId("log-out"), loggedIn);
  setup.offerModels(await engine.models());
}

async function start() {
  correct.size(4);
  correct.open(null);
  listen();
  try {
    await ready();
    // A scan may have been dropped meanwhile.
    if (flow.turn === 0) flow.empty();
    await refreshJobs();
  } catch (error) {
    if (flow.turn === 0) flow.fail(error);
  }
}

const viewing = viewer.start();
start();

/** What a segmentation is asked for with: the model, its settings, and which series is which channel. */

import { byId, make, show } from "../dom.js";
import { seriesInWords } from "./words.js";

/** Ids of ticks, and the settings that they are. */
const TICKS = [["tta", "tta"], ["uncertainty-wanted", "uncertainty"], ["assume-affine", "assume_affine"]];

export class Setup {
  /** @param {() => void} onChange a choice was made that changes what would be segmented, or how it is shown */
  constructor(onChange) {
    this.models = [];
    this.series = [];
    byId("model").addEventListener("change", () => {
      this.tell();
      this.offerSeries(this.series);
      onChange();
    });
    byId("series").addEventListener("change", onChange);
  }

  /** @param {any[]} models on offer */
  offerModels(models) {
    this.models = models;
    byId("model").replaceChildren(...models.map((one) => make("option", { value: one.name, text: one.name })));
    byId("model").disabled = models.length < 2;
    this.tell();
  }

  /** The chosen model. */
  get model() {
    return this.models.find((one) => one.name === byId("model").value) ?? null;
  }

  choose(name) {
    if (!this.models.some((one) => one.name === name)) return;
    byId("model").value = name;
    this.tell();
    this.offerSeries(this.series);
  }

  /** The settings of the next job. */
  get settings() {
    return { ...Object.fromEntries(TICKS.map(([id, name]) => [name, byId(id).checked])), series: this.chosenSeries };
  }

  /** Another scan is next: how the last one lies in its file says nothing of it. */
  leaveScan() {
    byId("assume-affine").checked = false;
    this.offerSeries([]);
  }

  /** What a job was asked for with, so that it can be asked for again. @param {any} job @param {any[]} series of its scan */
  showJob({ model, settings }, series) {
    this.choose(model);
    for (const [id, name] of TICKS) byId(id).checked = Boolean(settings[name]);
    this.offerSeries(series, settings.series);
  }

  /** The model that made a job; null if it is gone, also where another one has its name now. */
  madeBy(job) {
    return this.models.find((one) => one.name === job.model && one.sha256 === job.model_sha256) ?? null;
  }

  /** Series by channel; empty where there is nothing to choose. */
  get chosenSeries() {
    return [...byId("series").querySelectorAll("select")].map((select) => select.value);
  }

  get hasToChoose() {
    return this.series.length > 1;
  }

  /** Why the chosen series cannot be segmented, in words; null where they can. */
  get problem() {
    const chosen = this.chosenSeries;
    if (new Set(chosen).size === chosen.length) return null;
    if (chosen.length > this.series.length) {
      return `The model needs ${chosen.length} images, and the scan has ${this.series.length} series.`;
    }
    return "One series is chosen for several channels. Choose another for each.";
  }

  /** @param {any[]} series of the scan; with one there is nothing to choose @param {string[]} chosen by channel */
  offerSeries(series, chosen = []) {
    this.series = series;
    show(byId("series-field"), series.length > 1);
    if (series.length < 2) {
      byId("series").replaceChildren();
      return;
    }
    const channels = this.model?.channels ?? ["scan"];
    byId("series-advice").textContent = `There are ${series.length} series. Choose ${channels.length > 1 ? "one for each channel" : "the one to segment"}.`;
    const weight = (one) => (one.shape === null ? -1 : (one.count ?? 0));
    const longest = series.reduce((best, one, index) => (weight(one) > weight(series[best]) ? index : best), 0);
    byId("series").replaceChildren(...channels.map((channel, position) => {
      const before = series.findIndex((one) => one.uid === chosen[position]);
      const usual = channels.length > 1 ? Math.min(position, series.length - 1) : longest;
      const first = before >= 0 ? before : usual;
      const select = make("select", { id: `series-${position}` },
        ...series.map((one, index) => make("option", { value: one.uid, text: seriesInWords(one, index), selected: index === first,
          disabled: one.shape === null })));
      return make("div", { class: "field" }, make("label", { for: select.id, text: channel }), select);
    }));
  }

  /** What the model segments, and under which licence. */
  tell() {
    const { model } = this;
    if (!model) return;
    const names = Object.entries(model.labels).filter(([, value]) => value !== 0).map(([name]) => name);
    const dice = model.metrics?.mean_dice ?? model.metrics?.dice;
    const parts = [`Segments ${listed(names)}.`];
    if (model.channels.length > 1) parts.push(`Needs ${model.channels.length} images: ${listed(model.channels)}.`);
    else parts.push(`In ${model.channels[0]}.`);
    if (typeof dice === "number") parts.push(`Mean Dice ${dice.toFixed(3)} on cases it has not seen.`);
    if (model.title && model.title !== model.name) parts.push(`Trained on ${model.title}.`);
    if (model.licence) parts.push(`Licence: ${model.licence}.`);
    byId("model-facts").textContent = parts.join(" ");
  }
}

function listed(names) {
  if (names.length > 8) return `${names.slice(0, 7).join(", ")} and ${names.length - 7} more`;
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** The table of labels: colour, name, volume, confidence, whether it is shown, and which one the brush gives. */

import { icon, make } from "../dom.js";

export class LabelTable {
  /**
   * @param {HTMLElement} place a tbody
   * @param {{onLook: () => void, onChoose: (position: number) => void}} calls onLook: colour or visibility has changed
   */
  constructor(place, { onLook, onChoose }) {
    this.place = place;
    this.onLook = onLook;
    this.onChoose = onChoose;
    this.visible = [];
    this.chosen = 0;
    this.rows = [];
    this.regions = [];
  }

  /**
   * @param {import("../view/labelmap.js").LabelMap} map @param {Record<string, any>} summary of the job
   * @param {Record<string, number[]>} regions name -> values of labels that it unites
   */
  open(map, summary, regions) {
    this.map = map;
    this.confidence = summary.confidence ?? {};
    this.visible = map.labels.map(() => true);
    this.rows = map.labels.map((label, position) => this.row(label, position));
    this.regions = Object.entries(regions).map(([name, values]) => this.regionRow(name, values));
    this.place.replaceChildren(...[...this.rows, ...this.regions].map((row) => row.line));
    this.choose(Math.max(0, Math.min(this.chosen, map.labels.length - 1)), { silent: true });
    this.update();
  }

  /** Volumes as they are now. */
  update() {
    this.rows.forEach(({ volume, change }, position) => {
      const added = this.map.changeMl(position);
      volume.textContent = millilitres(this.map.volumeMl(position));
      change.textContent = added === 0 ? "" : `${added > 0 ? "+" : "−"}${millilitres(Math.abs(added))}`;
    });
    for (const { volume, positions } of this.regions) {
      volume.textContent = millilitres(positions.reduce((sum, one) => sum + this.map.volumeMl(one), 0));
    }
  }

  /** The label that the brush gives. */
  choose(position, { silent = false } = {}) {
    this.chosen = position;
    this.rows.forEach(({ pick, line }, index) => {
      pick.checked = index === position;
      line.classList.toggle("chosen", index === position);
    });
    if (!silent) this.onChoose(position);
  }

  /** Shows a label that was hidden: nobody draws what is not seen. */
  reveal(position) {
    if (this.visible[position] === false) this.toggle(position);
  }

  toggle(position) {
    this.visible[position] = !this.visible[position];
    this.mark(position);
    this.onLook();
  }

  mark(position) {
    const { eye } = this.rows[position];
    eye.setAttribute("aria-pressed", String(this.visible[position]));
    eye.replaceChildren(icon(this.visible[position] ? "eye" : "eye-off"));
  }

  /** A region is what several labels are together; it is corrected by correcting them. */
  regionRow(name, values) {
    const positions = this.map.labels.flatMap((label, position) => (values.includes(label.value) ? [position] : []));
    const parts = positions.map((position) => this.map.labels[position].name).join(" + ");
    const volume = make("span", { class: "number" });
    const line = make("tr", { class: "region" }, make("td"),
      make("th", { scope: "row" }, make("span", { text: name, title: parts })),
      make("td", { class: "end" }, volume), make("td", { class: "end" }, certainty(this.confidence[name])), make("td"));
    return { line, volume, positions };
  }

  row(label, position) {
    const { name } = label;
    const sure = this.confidence[name];
    const eye = make("button", {
      type: "button", class: "quiet", "aria-pressed": "true", "aria-label": `Show ${name}`, title: `Show or hide ${name}`,
      click: () => this.toggle(position),
    }, icon("eye"));
    const colour = make("input", {
      type: "color", value: hex(label.colour), "aria-label": `Colour of ${name}`, title: `Colour of ${name}`,
      input: (event) => {
        label.colour = rgb(event.target.value);
        this.onLook();
      },
    });
    const pick = make("input", {
      type: "radio", name: "label", id: `label-${position}`, "aria-label": `Brush gives ${name}`,
      change: () => this.choose(position),
    });
    const volume = make("span", { class: "number" });
    const change = make("span", { class: "change" });
    // Nothing is drawn: there is nothing to show, to hide or to paint.
    if (!this.map.isDrawn) for (const one of [eye, colour, pick]) one.disabled = true;
    const line = make("tr", {},
      make("td", {}, colour),
      make("th", { scope: "row" }, pick, make("label", { for: `label-${position}`, text: name, title: name })),
      make("td", { class: "end" }, volume, change),
      make("td", { class: "end" }, certainty(sure)),
      make("td", {}, eye));
    return { line, eye, pick, volume, change };
  }
}

function certainty(sure) {
  if (typeof sure !== "number") return make("span", { class: "soft", text: "–", title: "not known, or does not occur" });
  const percent = Math.round(sure * 100);
  return make("span", { text: `${percent} %` });
}

/** With two digits after the point, as in the picture that goes into the PACS. */
export function millilitres(ml) {
  return ml > 0 && ml < 0.005 ? "<0.01 ml" : `${ml.toFixed(2)} ml`;
}

export function hex(colour) {
  return `#${colour.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;
}

function rgb(text) {
  return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
}

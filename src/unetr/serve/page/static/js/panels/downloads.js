/** What can be taken home: the result in its forms, and each correction. */

import { byId, icon, make, saveAs, show } from "../dom.js";
import * as engine from "../engine.js";

const FORMS = {
  labels: ["NIfTI", "labels.nii.gz"],
  "dicom-seg": ["DICOM SEG", "seg.dcm"],
  rtstruct: ["RTSTRUCT", "rtstruct.dcm"],
  stats: ["Volumes", "stats.json"],
  preview: ["Picture", "preview.png"],
  uncertainty: ["Uncertainty", "uncertainty.nii.gz"],
};
const DICOM = ["dicom-seg", "rtstruct"];

export class Downloads {
  /** @param {(error: any) => void} onError */
  constructor(onError) {
    this.onError = onError;
  }

  /** @param {any} job @param {boolean} fromDicom the scan was DICOM @param {number[]} corrections numbers */
  open(job, fromDicom, corrections) {
    const made = job.results.map((one) => one.form);
    const offered = Object.keys(FORMS).filter((form) => (DICOM.includes(form) ? fromDicom : made.includes(form)));
    const fixed = ["labels", ...(fromDicom ? DICOM : [])];
    byId("download-list").replaceChildren(
      ...[...corrections].reverse().map((number) =>
        group(`Correction ${number}`, fixed, (form, button) => this.take(job, form, button, number))),
      group(corrections.length > 0 ? "As the model made it" : null, offered, (form, button) => this.take(job, form, button)));
    const note = byId("download-note");
    note.textContent = fromDicom ? "" : "DICOM SEG and RTSTRUCT need a scan that came as DICOM.";
    show(note, !fromDicom);
  }

  async take(job, form, button, number = null) {
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    try {
      const bytes = number === null ? await engine.result(job.id, form) : await engine.correction(job.id, number, form);
      const part = number === null ? "" : `correction-${number}.`;
      saveAs(`${job.id.slice(0, 8)}.${part}${FORMS[form][1]}`, bytes);
    } catch (error) {
      this.onError(error);
    } finally {
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
  }
}

function group(title, forms, take) {
  const buttons = forms.map((form) =>
    make("button", {
      type: "button", click: (event) => take(form, event.currentTarget), "data-form": form,
      "aria-label": `Download ${FORMS[form][0]}${title ? `, ${title}` : ""}`,
    }, icon("download"), FORMS[form][0]));
  return make("div", { class: "download-group" }, title ? make("h3", { text: title }) : null, make("div", { class: "row" }, ...buttons));
}

/** The verdict, first thing of a result: an icon, a word, and what to make of it in sentences. */

import { icon, make } from "../dom.js";
import { sentence } from "./words.js";

const KINDS = {
  ok: ["check", "Like the training scans", "Nothing about this scan is unusual for the model. Check the result as always."],
  warned: ["warning", "Unlike the training scans", "Do not rely on this result before you have checked it."],
  unknown: ["question", "Not compared with the training scans", "It is not known whether the model was made for scans like this one."],
};

/** @param {HTMLElement} place @param {Record<string, any>} summary of a job. @returns {string} the verdict in words */
export function showVerdict(place, summary) {
  const verdict = summary.verdict ?? {};
  const state = KINDS[verdict.state] ? verdict.state : "unknown";
  const [sign, title, advice] = KINDS[state];
  const sentences = (verdict.warnings ?? []).map(sentence);
  const notes = (verdict.notes ?? []).map(sentence);
  place.dataset.verdict = state;
  place.replaceChildren(
    make("div", { class: "verdict-head" }, icon(sign), make("h3", { text: title })),
    make("p", { text: advice }),
    list(sentences, "verdict-reasons"),
    list(notes, "verdict-notes"),
  );
  return [`Verdict: ${title}.`, ...sentences, advice].join(" ");
}

function list(sentences, kind) {
  if (sentences.length === 0) return make("span", { hidden: true });
  return make("ul", { class: kind }, ...sentences.map((text) => make("li", { text })));
}

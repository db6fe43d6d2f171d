/** What stands in front of the viewer: how to begin, how far it is, and what went wrong with what to do. */

import { announce, byId, icon, make, show } from "../dom.js";

/**
 * @typedef {{sign?: string, title: string, text?: string, share?: number | "busy" | null, kind?: string,
 *   docked?: boolean, silent?: boolean, actions?: {text: string, call: () => void, main?: boolean}[]}} Told
 * docked: at the lower edge, where the scan can be seen. share: of a bar, 0 to 1.
 */
export class Front {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.shape = null;
    this.heard = 0;
  }

  /** @param {Told} told */
  show(told) {
    show(this.place, true);
    const shape = JSON.stringify([told.sign, told.title, told.kind, told.docked, (told.actions ?? []).map((one) => one.text)]);
    // Only the bar and the text change from window to window: a button keeps the focus.
    if (shape !== this.shape) this.build(told);
    this.shape = shape;
    this.text.textContent = told.text ?? "";
    show(this.bar, told.share !== undefined && told.share !== null);
    if (typeof told.share === "number") this.bar.value = told.share;
    else this.bar.removeAttribute("value");
    this.tell(told);
  }

  /** Moves to the lower edge, after the scan has come. */
  dock() {
    if (this.shape !== null) this.place.dataset.docked = "true";
  }

  hide() {
    this.shape = null;
    // Whoever was on a button here goes on in the viewer.
    if (this.place.contains(document.activeElement)) byId("canvas").focus();
    show(this.place, false);
    this.place.replaceChildren();
  }

  build(told) {
    this.heard = 0;
    // Whoever was on a button that goes stays here, and hears what has come instead.
    const hadFocus = this.place.contains(document.activeElement);
    this.text = make("p", {});
    this.bar = make("progress", { max: 1, "aria-label": told.title });
    const actions = (told.actions ?? []).map(({ text, call, main }) =>
      make("button", { type: "button", class: main ? "main" : "", text, click: call }));
    this.place.dataset.kind = told.kind ?? "plain";
    this.place.dataset.docked = String(Boolean(told.docked));
    const card = make("div", { class: "front-card", tabindex: -1, role: told.kind === "error" ? "alert" : null },
      told.sign ? icon(told.sign) : null,
      make("div", { class: "front-words" }, make("h2", { text: told.title }), this.text, this.bar),
      make("div", { class: "row" }, ...actions));
    this.place.replaceChildren(card);
    if (hadFocus) card.focus();
  }

  /** A reader hears the beginning and every quarter, not every window. */
  tell(told) {
    const quarter = typeof told.share === "number" ? Math.floor(told.share * 4) : 0;
    if (told.silent || (this.heard > quarter && quarter > 0)) return;
    if (this.heard === 0 || quarter >= this.heard) announce(`${told.title}. ${told.text ?? ""}`);
    this.heard = quarter + 1;
  }
}

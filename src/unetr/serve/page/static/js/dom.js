/** Small helpers for the page. Text from a server is always set as text, never as HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id; it is a mistake in the page if there is none. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page lacks #${id}`);
  return found;
}

/**
 * A new element. Attributes that are functions are listeners, `text` is its text, `class` its classes; null and false
 * attributes are left out.
 * @param {string} tag
 * @param {Record<string, any>} attributes
 * @param {...(Node | string | null)} children
 */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else if (name === "text") made.textContent = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** An icon of index.html; screen readers pass over it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Shows or hides. */
export function show(element, visible) {
  element.hidden = !visible;
}

/** Tells screen readers, without moving the focus. What is told twice is heard twice: only a change is read out. */
export function announce(text) {
  const place = byId("announcer");
  place.textContent = place.textContent === text ? `${text}\u00a0` : text;
}

/** Offers bytes to the reader's disk under a name that says nothing of a patient. */
export function saveAs(name, bytes, type = "application/octet-stream") {
  const address = URL.createObjectURL(new Blob([bytes], { type }));
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** 1536 -> "1.5 kB". */
export function sizeInWords(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let step = 0;
  while (bytes >= 1000 && step < units.length - 1) {
    bytes /= 1000;
    step += 1;
  }
  return `${step === 0 ? bytes : bytes.toFixed(bytes < 10 ? 1 : 0)} ${units[step]}`;
}

/** Seconds since 1970 -> "14:05" today, "3 Mar, 14:05" before. */
export function timeInWords(seconds) {
  const time = new Date(seconds * 1000);
  const clock = time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (time.toDateString() === new Date().toDateString()) return clock;
  return `${time.toLocaleDateString([], { day: "numeric", month: "short" })}, ${clock}`;
}

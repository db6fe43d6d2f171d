/** What stands in front of the viewer in each state, in words. Each returns what Front shows. */

import { errorInWords, sentence } from "./words.js";

const AWAY = "The server does not answer; trying again …";

/** Nothing is open. trouble: why scans cannot be drawn here, or null. */
export function empty(trouble, { files, folder }) {
  return {
    sign: "upload", title: "Drop a scan to segment it", kind: "empty", silent: true,
    text: trouble ? `${errorInWords(trouble)} Scans are segmented all the same, and the result can be downloaded.`
      : "NIfTI, NRRD, MHA, a DICOM folder or a zip. It goes to this server and nowhere else.",
    actions: [{ text: "Choose files", main: true, call: files }, { text: "Choose a folder", call: folder }],
  };
}

/** Files are looked for in a folder. */
export function gathering(cancel) {
  return { ...busy("Looking through the files"), actions: [{ text: "Cancel", call: cancel }] };
}

/** Files are on their way. share: of the bytes that are sent; 1 while the server reads the scan. */
export function uploading(what, share, cancel) {
  const sent = share < 1;
  return {
    sign: sent ? "upload" : "spinner", title: sent ? "Uploading" : "Reading the scan", text: what, share: sent ? share : "busy",
    actions: [{ text: "Cancel", call: cancel }],
  };
}

/** A person has to choose a series or a model. problem: why what is chosen cannot be segmented, or null. */
export function choosing(what, problem, segment) {
  return {
    sign: "question", title: what === "series" ? "Which series?" : "Which model?", kind: "choose",
    text: problem ?? `${what === "series" ? "The scan has several. " : ""}Choose under “New scan”, then segment.`,
    actions: [{ text: "Segment", main: true, call: segment }],
  };
}

/** The file does not say where its voxels lie: only a person can know. */
export function lacksOrientation({ goOn, restart }) {
  return {
    sign: "warning", title: "This scan has no orientation", kind: "choose",
    text: "Its file does not say which side is left. If you know that it lies as usual (right to left, back to front, down to "
      + "up), go on, and check left and right in the result.",
    actions: [{ text: "It lies as usual", main: true, call: goOn }, { text: "Choose another scan", call: restart }],
  };
}

/** Something short that is waited for. */
export function busy(title) {
  return { sign: "spinner", title, share: "busy", silent: true };
}

/**
 * How far a job is. reason: why it waits, if not for its turn.
 * @param {{state: string, done?: number, of?: number, reason?: string, offline: boolean, stopping?: boolean}} told
 */
export function working({ state, done, of, reason, offline, stopping }, cancel) {
  if (stopping) return { ...busy("Stopping"), silent: false, text: offline ? AWAY : "The window that is being segmented comes to its end." };
  const waits = state !== "running";
  const usual = waits ? (reason ? sentence(reason) : "It begins as soon as the server is free.") : of ? `${done} of ${of} windows` : "Getting ready";
  return {
    sign: waits ? "clock" : "spinner", kind: "progress", title: waits ? (reason ? "Waiting for room" : "Waiting for its turn") : "Segmenting",
    text: offline ? AWAY : usual,
    share: waits || !of ? "busy" : done / of,
    actions: [{ text: "Cancel", call: cancel }],
  };
}

export function cancelled({ again, restart }) {
  return {
    sign: "stop", title: "Cancelled", kind: "progress", text: "The scan is still here; segment it again when you like.",
    actions: [{ text: "Segment again", main: true, call: again }, { text: "New scan", call: restart }],
  };
}

/** The queue is full, and is asked again in `left` of `whole` seconds. */
export function full(left, whole, { now, restart }) {
  return {
    sign: "clock", kind: "wait", title: "The server is busy", share: 1 - left / whole, silent: left % 15 !== 0,
    text: `As many scans wait as may. Yours is safe on the server; asking again in ${left} s.`,
    actions: [{ text: "Ask now", main: true, call: now }, { text: "Stop asking", call: restart }],
  };
}

/** There is a result, of a scan that this browser cannot draw. error: why not. */
export function undrawn(error, restart) {
  return {
    sign: "warning", kind: "wait", title: "Segmented, but not shown",
    text: `${errorInWords(error)} Download the labels and look at them in another viewer before you use the volumes.`,
    actions: [{ text: "New scan", call: restart }],
  };
}

/** There was a picture, and the browser has lost it. */
export function pictureGone(error, reload) {
  return {
    sign: "warning", kind: "wait", title: "The picture is gone",
    text: `${errorInWords(error)} What you have corrected is still here: save it before.`,
    actions: [{ text: "Load again", main: true, call: reload }],
  };
}

/** Something went wrong. again: what tries once more, if anything may help. */
export function failed(error, { again, restart }) {
  const other = { text: "New scan", main: !again, call: restart };
  return {
    sign: "error", kind: "error", title: error.kind === "offline" ? "The server does not answer" : "This did not work",
    text: error.kind === "offline" ? error.hint : errorInWords(error), actions: again ? [{ text: "Try again", main: true, call: again }, other] : [other],
  };
}

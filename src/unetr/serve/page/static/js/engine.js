/**
 * What segments: the only module that knows there is a server. An engine inside the browser would have the same
 * functions, and nothing else of the page would change.
 *
 * @typedef {{id: string, facts: Record<string, any>}} Scan
 * @typedef {{id: string, scan: string, model: string, state: string, created_s: number, settings: Record<string, any>,
 *   results: {form: string, bytes: number}[], summary: Record<string, any>, error: Record<string, any> | null}} Job
 */

/** Ends of a job. */
export const FINISHED = ["written", "delivered"];
export const ENDED = [...FINISHED, "failed", "cancelled"];

/** Something went wrong. kind: "offline", "full", "login", "refused" or "cancelled"; hint: what to do. */
export class EngineError extends Error {
  constructor(kind, message, { hint = null, retryAfter = null } = {}) {
    super(message);
    this.kind = kind;
    this.hint = hint;
    this.retryAfter = retryAfter;
  }
}

const OFFLINE = "The server does not answer.";
const OFFLINE_HINT = "Look whether `unetr serve` still runs and this computer reaches it, then try again.";
const API = "api";
const RETRY_MS = 2000;
/** A connection may be away for this long before anybody is told. */
const PATIENCE_MS = 5000;
/** What another site cannot know, where there are logins. */
let own = null;

/** Begins. Returns whether somebody has logged in, so that the page can offer to log out. */
export async function start() {
  const told = parsed(await body(await request("session"), "text"));
  own = told.csrf;
  return Boolean(told.logged_in);
}

/** Ends a login, and goes to the page where one begins. */
export async function logOut() {
  await request("logout", { method: "POST" });
  location.assign("login");
}

/** The models on offer. */
export async function models() {
  return (await json("models")).models;
}

/** Past and present jobs, newest first. @returns {Promise<Job[]>} */
export async function jobs() {
  return (await json("jobs?limit=100")).jobs.map(asJob);
}

/** @returns {Promise<Job>} */
export async function job(id) {
  return asJob(await json(`jobs/${id}`));
}

/** @returns {Promise<Scan>} */
export async function scan(id) {
  return asScan(await json(`scans/${id}`));
}

/**
 * Sends files. progress: gets the share that is sent, 0 to 1. Names are not sent: they may name a patient.
 * @param {File[]} files @param {(share: number) => void} progress @param {AbortSignal} signal
 * @returns {Promise<Scan>}
 */
export function upload(files, progress, signal) {
  const form = new FormData();
  files.forEach((file, index) => form.append("files", file, `${index + 1}${ending(file.name)}`));
  return new Promise((resolve, reject) => {
    // fetch() cannot tell how much of a body is sent.
    const sent = new XMLHttpRequest();
    sent.open("POST", `${API}/scans`);
    for (const [name, value] of Object.entries(guard())) sent.setRequestHeader(name, value);
    sent.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    sent.onerror = () => reject(offline());
    sent.onabort = () => reject(new EngineError("cancelled", "The upload was cancelled."));
    sent.onload = () => {
      try {
        if (sent.status >= 300) throw refusal(sent.status, sent.responseText, sent.getResponseHeader("Retry-After"));
        resolve(asScan(parsed(sent.responseText)));
      } catch (error) {
        reject(error);
      }
    };
    signal.addEventListener("abort", () => sent.abort());
    sent.send(form);
  });
}

/**
 * The scan on the grid that it is predicted on, as NIfTI. model: its name, as it has a say in this; null if it is gone.
 * @returns {Promise<ArrayBuffer>}
 */
export async function view(scanId, model, series = []) {
  const query = new URLSearchParams([...(model ? [["model", model]] : []), ...series.map((uid) => ["series", uid])]);
  return patiently(() => bytes(`scans/${scanId}/view.nii?${query}`));
}

/** Asks for a segmentation. @returns {Promise<Job>} */
export async function submit(scanId, model, settings) {
  return asJob(await json("jobs", post({ scan: scanId, model, settings })));
}

/** Asks to stop a job. @returns {Promise<Job>} */
export async function cancel(id) {
  return asJob(await json(`jobs/${id}/cancel`, post({})));
}

/** A file of a result: "labels", "stats", "preview", "uncertainty", "dicom-seg" or "rtstruct". */
export async function result(id, form) {
  return patiently(() => bytes(`jobs/${id}/results/${form}`));
}

/** Where a picture of a result is. */
export function previewAddress(id) {
  return `${API}/jobs/${id}/results/preview`;
}

/** Hands in corrected labels, which are checked. @returns {Promise<number>} the correction's number */
export async function correct(id, labels) {
  await start(); // somebody may have logged in again in another window, so that work is not lost
  const sent = { method: "POST", body: labels, headers: { "Content-Type": "application/octet-stream" } };
  return (await json(`jobs/${id}/corrections`, sent)).number;
}

/** The numbers of a job's corrections. @returns {Promise<number[]>} */
export async function corrections(id) {
  return (await patiently(() => json(`jobs/${id}/corrections`))).numbers;
}

/** A correction as "labels", "dicom-seg" or "rtstruct". */
export async function correction(id, number, form) {
  return bytes(`jobs/${id}/corrections/${number}/${form}`);
}

/**
 * Tells of a job until it has ended. told: {state}, {done, of} for each window, {offline: true} while the server does
 * not answer and {offline: false} once it does, and at last {end: job}, or {lost: error} where it cannot be asked for. Returns what stops it.
 * @param {string} id @param {(told: Record<string, any>) => void} tell @returns {() => void}
 */
export function follow(id, tell) {
  let source = null;
  let stopped = false;
  let alarm = null;
  let isAway = false;
  const calm = () => {
    clearTimeout(alarm);
    alarm = null;
  };
  // The next news may be long in coming, as of a job that waits.
  const answered = () => {
    calm();
    if (isAway) tell({ offline: false });
    isAway = false;
  };
  const missed = () => {
    isAway = true;
    tell({ offline: true });
  };
  const stop = () => {
    stopped = true;
    calm();
    source.close();
  };
  const end = (told) => {
    if (stopped) return;
    stop();
    tell(told);
  };
  const connect = () => {
    source = new EventSource(`${API}/jobs/${id}/events`);
    const hear = (event) => stopped || tell(JSON.parse(event.data));
    source.addEventListener("state", hear);
    source.addEventListener("progress", hear);
    source.addEventListener("end", (event) => end({ end: asJob(JSON.parse(event.data)) }));
    source.onopen = answered;
    // The browser connects again by itself, with Last-Event-ID, unless the answer was no stream of events.
    source.onerror = () => {
      if (stopped) return;
      alarm ??= setTimeout(missed, PATIENCE_MS);
      if (source.readyState === EventSource.CLOSED) setTimeout(look, RETRY_MS);
    };
  };
  const look = async () => {
    if (stopped) return;
    try {
      const now = await job(id);
      if (ENDED.includes(now.state)) end({ end: now });
      else if (!stopped) {
        answered();
        tell({ state: now.state, reason: now.error?.message, ...now.progress });
        connect();
      }
    } catch (error) {
      if (error.kind === "offline") setTimeout(look, RETRY_MS);
      else end({ lost: error });
    }
  };
  connect();
  return stop;
}

function post(content) {
  return { method: "POST", body: JSON.stringify(content), headers: { "Content-Type": "application/json" } };
}

async function json(path, options = {}) {
  return parsed(await body(await request(`${API}/${path}`, options), "text"));
}

async function bytes(path) {
  return body(await request(`${API}/${path}`), "arrayBuffer");
}

/** All of an answer, or an error where the connection is cut off in the middle of it. */
async function body(answer, kind) {
  try {
    return await answer[kind]();
  } catch {
    throw offline();
  }
}

function offline() {
  return new EngineError("offline", OFFLINE, { hint: OFFLINE_HINT });
}

/** What something between here and the server answers, such as a page to log into a network, is no JSON. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new EngineError("refused", "The answer is none of this server.", { hint: "Load this page again, and look what it says." });
  }
}

/** Asks again while the server does not answer, as one that has just been started again. */
async function patiently(step, times = 3) {
  try {
    return await step();
  } catch (error) {
    if (error.kind !== "offline" || times === 0) throw error;
    await new Promise((done) => setTimeout(done, RETRY_MS));
    return patiently(step, times - 1);
  }
}

async function request(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { ...options, headers: { ...options.headers, ...guard() } });
  } catch {
    throw offline();
  }
  if (!answer.ok) throw refusal(answer.status, await body(answer, "text"), answer.headers.get("Retry-After"));
  return answer;
}

/** An answer that is a refusal, in words for people. */
function refusal(status, text, retryAfter) {
  const { message, hint } = words(text);
  if (status === 401) return new EngineError("login", "You are not logged in, or your login has ended.");
  if (status === 429) {
    return new EngineError("full", message ?? "As many scans wait as may.", { hint, retryAfter: Number(retryAfter) || 5 });
  }
  if (status === 413) return new EngineError("refused", message ?? "The files are larger than this server takes.", { hint });
  return new EngineError("refused", message ?? `The server refused (${status}).`, { hint });
}

function words(text) {
  try {
    const told = JSON.parse(text);
    return { message: told.error?.message ?? null, hint: told.error?.hint ?? null };
  } catch {
    return { message: null, hint: null };
  }
}

/** The header that shows a request is the page's own. */
function guard() {
  return own === null ? {} : { "X-CSRF-Token": own };
}

/** What of a name says the format; the rest may name a patient. */
function ending(name) {
  return /(\.nii\.gz|\.[a-z0-9]{1,5})$/i.exec(name)?.[1].toLowerCase() ?? "";
}

function asScan(told) {
  return { id: told.id, facts: told.facts ?? {} };
}

function asJob(told) {
  return { settings: {}, results: [], summary: {}, error: null, ...told };
}

/** Calls of the HTTP API: JSON in and out, mistakes as ApiError with the server's own explanation. */

import { momentOf } from "./moment.js";
import { seesAll } from "./session.js";

const ROOT = "/api/v1";
const LARGEST_PAGE = 500;

/** A refused or failed call. `status` is 0 when no answer came at all. */
export class ApiError extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

/** Return the URL of an API path; parameters that are null, undefined or empty are left out. */
export function urlOf(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return ROOT + path + (text && (path.includes("?") ? "&" : "?") + text);
}

/** Return the path with every placeholder filled by an escaped value: to`/trials/${id}`. */
export function to(strings, ...values) {
  return String.raw({ raw: strings }, ...values.map((value) => encodeURIComponent(value)));
}

async function explain(response) {
  const problem = await response.json().catch(() => ({}));
  const mistakes = (problem.errors ?? []).map((error) => `${error.path}: ${error.message}`);
  const detail = [problem.detail, ...mistakes].filter(Boolean).join(" ");
  return new ApiError(response.status, problem.title ?? `HTTP ${response.status}`, detail);
}

async function call(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "No answer", "The server does not answer. Is it running? Start it with: tm up");
  }
  if (!response.ok) throw await explain(response);
  return response;
}

/** Read a resource as of at least stream sequence `minSeq`. */
export async function get(path, { parameters = {}, minSeq = 0, signal } = {}) {
  const past = momentOf(path);
  const url = urlOf(path, { ...parameters, ...past, min_seq: past.as_of ? null : minSeq || null });
  const response = await call(url, { signal, headers: { accept: "application/json" } });
  return response.json();
}

/** Read a paged list until its end or until `cap` items are there: {items, complete}. */
export async function getAll(path, { cap, ...options }) {
  const items = [];
  let cursor = null;
  do {
    const page = await get(path, { ...options, parameters: { limit: Math.min(cap, LARGEST_PAGE), cursor } });
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && items.length < cap);
  return { items, complete: !cursor };
}

/** End the login of this browser. */
export async function logOut() {
  await call(urlOf("/session"), { method: "DELETE", headers: { accept: "application/json" } });
}

/** The event up to which an answer of the past shows the log: {seq, event (null before the first one)}. */
export async function askMoment() {
  const response = await call(urlOf("/agents", momentOf("/agents")), { headers: { accept: "application/json" } });
  const seq = Number(response.headers.get("TM-Seq"));
  if (seq === 0 || !seesAll()) return { seq, event: null };
  const { items } = await get("/events", { parameters: { after: seq - 1, limit: 1 } });
  return { seq, event: items[0] ?? null };
}

/** Read a text, such as a file. */
export async function getText(path, { signal } = {}) {
  return (await call(urlOf(path, momentOf(path)), { signal })).text();
}

/** Ask for a change: {seq, answer}; `seq` is where it is on the log (0 if the server does not say). */
export async function send(method, path, body, parameters) {
  const headers = { accept: "application/json", ...(body && { "content-type": "application/json" }) };
  const response = await call(urlOf(path, parameters), { method, headers, body: body && JSON.stringify(body) });
  return { seq: Number(response.headers.get("TM-Seq") ?? 0), answer: await response.json().catch(() => null) };
}

/** Post a change. Returns the stream sequence at which it is on the log. */
export const post = async (path, body, parameters) => (await send("POST", path, body, parameters)).seq;

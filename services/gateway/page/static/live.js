/** The one live connection: every event on the log from now on, handed to whoever shows what it touches.
 *
 * It starts at the head of the log, so a page that reads with `min_seq` = `position()` and then listens misses
 * nothing. After a break it continues at the first event not seen; a listener also hears `null`, which means
 * "anything may have changed, read again".
 */
import { get, urlOf } from "./api.js";
import { seesAll } from "./session.js";
import { keepOpen } from "./stream.js";

const BATCH_MS = 50;
const RETRY_MS = 1500;

const listeners = new Set();
const watchers = new Set();
let received = 0; // sequence of the newest event that came over the stream
let reached = 0; // where the log is at least, as answers to changes told us too
let state = "connecting";
let batch = [];
let settle;

/** Settled once the stream has its starting point: events after that are heard by every listener. */
export const connected = new Promise((resolve) => {
  settle = resolve;
});

/** A stream sequence that the log is known to have reached: what to read up to. */
export const position = () => reached;

/** Note that the log has reached `seq`, as the answer to a change says. */
export function advance(seq) {
  reached = Math.max(reached, seq);
}

/** Call `listener` with each batch of events (or null: read again). Returns the function that ends it. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Call `watcher` with the connection's state, now and whenever it changes: connecting, open, lost, asleep. */
export function watchConnection(watcher) {
  watchers.add(watcher);
  watcher(state);
  return () => watchers.delete(watcher);
}

/** Say whether an event is about this experiment: its own, one of its trials', or a pool's about those. */
export function touchesExperiment(event, id) {
  const { experiment_id: experiment, trial_id: trial } = event.event ?? {};
  return event.correlation === id || experiment === id || (trial ?? "").startsWith(`${id}-`);
}

/** Say whether an event is about this trial. */
export function touchesTrial(event, id) {
  return event.event?.trial_id === id || event.aggregate_id === id;
}

function tell(events) {
  for (const listener of [...listeners]) listener(events);
}

function flush() {
  const events = batch;
  batch = [];
  tell(events);
}

function receive(message) {
  const event = JSON.parse(message.data);
  if (event.seq <= received) return;
  received = event.seq;
  advance(received);
  if (batch.push(event) === 1) setTimeout(flush, BATCH_MS);
}

async function reread() {
  const before = received; // more may come while we ask
  const { log } = await get("/status").catch(() => ({ log: { last_seq: before } }));
  if (log.last_seq < before)
    location.reload(); // another log stands behind this address now
  else tell(null);
}

function setState(next) {
  const wasBroken = state === "lost" || state === "asleep";
  state = next;
  for (const watcher of [...watchers]) watcher(state);
  if (next === "open" && wasBroken) reread();
}

/** Connect, and stay connected for as long as the page lives. */
export async function connect() {
  try {
    received = (await get("/status")).log.last_seq;
  } catch {
    setState("lost");
    setTimeout(connect, RETRY_MS);
    return;
  }
  advance(received);
  settle();
  const path = seesAll() ? "/events/stream" : "/status/changes";
  keepOpen({ url: () => urlOf(path, { after: received }), onMessage: receive, onState: setState });
}

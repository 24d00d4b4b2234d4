/** The newest part of the log, as rows: read backwards in windows, extended by what comes live. */
import { get } from "./api.js";

export const MOST_ROWS = 500;
const ENOUGH_ROWS = 50; // so many matches are worth looking at; with fewer, look further back
const FIRST_WINDOW = 200;
const MOST_WINDOWS = 6; // each twice the one before: at most 12,600 events are read for one look back
const PAGE_EVENTS = 500;

/** Say whether an event passes the filters, as the server would. */
export function matches(event, { experiment, trial, name, writer, since }) {
  const fields = event.event ?? {};
  if (since && Date.parse(event.time) < Date.parse(since)) return false;
  if (name && event.name !== name) return false;
  if (writer && event.writer !== writer) return false;
  if (trial) return fields.trial_id === trial;
  return !experiment || event.correlation === experiment || fields.experiment_id === experiment;
}

/** Read all matching events with `after` < seq <= `until`. */
async function readWindow(filters, after, until, signal) {
  const found = [];
  let from = after;
  for (;;) {
    const page = await get("/events", { parameters: { ...filters, after: from, limit: PAGE_EVENTS }, signal });
    found.push(...page.items.filter(({ seq }) => seq <= until));
    if (page.at_head || page.next_after >= until || page.next_after <= from) return found;
    from = page.next_after;
  }
}

/** Read back from sequence `until` until there are enough matches: {rows (newest first), lowest}. */
export async function readBack(filters, until, signal) {
  const rows = [];
  let lowest = until;
  for (let number = 0; number < MOST_WINDOWS && lowest > 0 && rows.length < ENOUGH_ROWS; number += 1) {
    const after = Math.max(0, lowest - FIRST_WINDOW * 2 ** number);
    rows.push(...(await readWindow(filters, after, lowest, signal)).reverse());
    lowest = after;
  }
  return { rows, lowest };
}

/** Put rows together, newest first, each sequence once. */
export function merge(newer, older) {
  const known = new Set();
  return [...newer, ...older].filter(({ seq }) => !known.has(seq) && known.add(seq)).sort((a, b) => b.seq - a.seq);
}

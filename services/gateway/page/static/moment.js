/** Which moment the pages show: now, or the one that `?as_of=` in the address names (a sequence, a time or "10m").
 *
 * It stands before the `#`, so that every link on the page keeps it.
 */

/** What the server can be asked of the past; the rest is about now. */
const HAS_PAST = new RegExp(
  "^/(experiments(/[^/]+(/trials(/columns)?|/checkpoints|/code(/.+)?|/why)?)?" +
    "|trials/[^/]+(/checkpoints|/why)?|checkpoints/[^/]+|agents(/[^/]+/why)?|queue|pools|limits)(\\?|$)",
);

/** The moment asked for, or null for now. */
export const moment = new URLSearchParams(location.search).get("as_of") || null;

/** The parameters that make a path's answer one of that moment. */
export const momentOf = (path) => (moment !== null && HAS_PAST.test(path) ? { as_of: moment } : {});

/** Go to another moment, or with null to now, on the same page. */
export function goTo(next) {
  const query = next === null ? "" : `?${new URLSearchParams({ as_of: next })}`;
  location.assign(`${location.pathname}${query}${location.hash}`);
}

/** The sequence that the moment means; null until it is settled, and for now. */
export let momentSeq = null;

/** That event; null until it is settled, for now, and before the first one. */
export let momentEvent = null;

/** Ask the server which event the moment means: {seq, event}. Rejects with its explanation when it is none. */
export async function settleMoment(ask) {
  if (moment !== null) ({ seq: momentSeq, event: momentEvent } = await ask());
}

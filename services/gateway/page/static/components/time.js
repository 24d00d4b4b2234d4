/** Instants and spans: local time on the page, UTC in the title, ages that move by themselves. */
import { formatAge, formatDuration, formatTime, formatUtc } from "../format.js";
import { moment, momentEvent } from "../moment.js";
import { html, useEffect, useRef, useState } from "../view.js";

/** The instant that ages are counted to, in ms: now, or the moment that the pages are put to. */
export const clock = () => (momentEvent ? Date.parse(momentEvent.time) : Date.now());

const TICK_MS = 1000;
const ticking = new Set();
let ticker = null;

function tickWith(listener) {
  ticking.add(listener);
  ticker ??= setInterval(() => ticking.forEach((call) => call()), TICK_MS);
  return () => {
    ticking.delete(listener);
    if (ticking.size === 0) {
      clearInterval(ticker);
      ticker = null;
    }
  };
}

/** `read(clock in ms)` as a text; read again every second while it moves, and drawn again when it differs. */
function useTicking(read, isMoving) {
  const latest = useRef(read);
  latest.current = read;
  const [, setText] = useState(null);
  useEffect(() => (isMoving && moment === null ? tickWith(() => setText(latest.current(clock()))) : undefined), [isMoving]);
  return read(clock());
}

/** An instant as local clock time. */
export function Time({ at }) {
  if (!at) return html`<span>–</span>`;
  return html`<time datetime=${at} title=${formatUtc(at)}>${formatTime(at)}</time>`;
}

/** An instant as "4 min ago". */
export function Age({ at }) {
  const text = useTicking((now) => (at ? formatAge((now - new Date(at)) / 1000) : "–"), Boolean(at));
  if (!at) return html`<span>–</span>`;
  return html`<time datetime=${at} title=${`${formatTime(at)} · ${formatUtc(at)}`}>${text}</time>`;
}

/** The span from `from` to `to`, or to now while `to` is not there. */
export function Duration({ from, to }) {
  const end = (now) => (to ? new Date(to) : now);
  const text = useTicking(
    (now) => (from ? formatDuration((end(now) - new Date(from)) / 1000) : "–"),
    Boolean(from && !to),
  );
  return html`<span class="number">${text}</span>`;
}

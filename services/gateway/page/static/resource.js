/** Reading the API from a component: read once, then again whenever an event touches what was read. */
import { get, getAll } from "./api.js";
import { listen, position } from "./live.js";
import { useEffect, useRef, useState } from "./view.js";

const QUIET_MS = 150; // events come in bursts: one read for all of them
const RETRY_MS = 2000;
const SERVER_PATIENCE_MS = 1900; // it waits 2 s for `min_seq`; an answer that took as long may be older than that
const SHARE = 3; // at most a third of the time goes into reading the same thing again

/** Reads, one at a time; a wish that comes meanwhile is remembered, not queued. */
class Reader {
  constructor(load, onData, onError) {
    Object.assign(this, { load, onData, onError, timer: null, isReading: false, isStale: false, tookMs: 0 });
    this.controller = new AbortController();
  }

  wish() {
    if (this.isReading) this.isStale = true;
    else this.timer ??= setTimeout(() => this.read(), Math.min(Math.max(QUIET_MS, SHARE * this.tookMs), RETRY_MS));
  }

  async read() {
    clearTimeout(this.timer);
    Object.assign(this, { timer: null, isReading: true, isStale: false });
    const begun = performance.now();
    try {
      this.onData(await this.load({ minSeq: position(), signal: this.controller.signal, onPart: this.onData }));
    } catch (error) {
      if (this.controller.signal.aborted) return;
      this.onError(error);
      if (error.status === 0 || error.status === 503) this.timer = setTimeout(() => this.read(), RETRY_MS);
    }
    Object.assign(this, { isReading: false, tookMs: performance.now() - begun });
    if (this.isStale || this.tookMs > SERVER_PATIENCE_MS) this.wish();
  }

  stop() {
    clearTimeout(this.timer);
    this.controller.abort();
  }
}

const NOTHING = { key: null, data: null, error: null };

/** Read by `load({minSeq, signal, onPart})`, which may show a part of it before the whole; again when `affects(event)`. A new `key` is another resource; null reads nothing.
 *
 * Returns {data, error, refresh}: after a failed re-read the last good data stays, beside the error.
 */
export function useResource(key, load, affects = () => false) {
  const [state, setState] = useState(NOTHING);
  const latest = useRef();
  latest.current = { load, affects };
  const reader = useRef(null);
  useEffect(() => {
    if (key === null) return undefined;
    reader.current = new Reader(
      (options) => latest.current.load(options),
      (data) => setState({ key, data, error: null }),
      (error) => setState((old) => ({ key, data: old.key === key ? old.data : null, error })),
    );
    reader.current.read();
    const unlisten = listen((events) => {
      if (events === null || events.some((event) => latest.current.affects(event))) reader.current.wish();
    });
    return () => {
      unlisten();
      reader.current.stop();
    };
  }, [key]);
  const current = state.key === key ? state : NOTHING;
  return { data: current.data, error: current.error, refresh: () => reader.current?.wish() };
}

const MOST_ITEMS = 10_000; // of a list that is read whole

/** Read a paged list whole: data is {items, complete}; see useResource. */
export function useAll(path, affects) {
  return useResource(path, (options) => getAll(path, { cap: MOST_ITEMS, ...options }), affects);
}

/** Read one API path; see useResource. */
export function usePath(path, affects) {
  return useResource(path, (options) => get(path, options), affects);
}

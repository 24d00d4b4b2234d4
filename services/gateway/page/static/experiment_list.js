/** The experiments, page by page and newest first: read further back on demand, read again where something happened. */
import { get } from "./api.js";
import { useResource } from "./resource.js";
import { useRef } from "./view.js";

const PAGE_ROWS = 200;
const MOST_REREAD = 3; // pages in one go; the rest is read at the next event
const QUIET = new Set(["AgentJoined", "AgentLeft", "CheckpointShardUploaded"]);

/** The experiment that an event is about, or null. */
const subjectOf = ({ event, correlation }) => event?.experiment_id ?? (correlation || null);

class Pages {
  constructor(parameters) {
    Object.assign(this, { parameters, pages: [], stale: new Set(), wantsMore: true });
  }

  get isWhole() {
    return this.pages.length > 0 && this.pages.at(-1).next === null;
  }

  /** The rows of all pages, each experiment once. */
  rows() {
    const known = new Set();
    return this.pages.flatMap(({ items }) => items).filter(({ id }) => !known.has(id) && known.add(id));
  }

  async fetch(cursor, options) {
    const parameters = { ...this.parameters, limit: PAGE_ROWS, cursor };
    const { items, next_cursor: next } = await get("/experiments", { ...options, parameters });
    return { cursor, items, next };
  }

  /** Read again what is stale: the first page, which has what is new, and others in which something changed. */
  async reread(options) {
    const stale = this.stale;
    this.stale = new Set();
    const touched = this.pages.filter(({ items }, number) => number > 0 && items.some(({ id }) => stale.has(id)));
    for (const page of touched.slice(0, MOST_REREAD)) Object.assign(page, await this.fetch(page.cursor, options));
    const first = await this.fetch(null, options);
    const before = this.pages[0];
    this.pages[0] = first;
    const kept = new Set(first.items.map(({ id }) => id));
    const pushedOut = before.items.filter(({ id }) => !kept.has(id));
    if (pushedOut.length > 0 && this.pages.length > 1) this.pages.splice(1, 0, { cursor: first.next, items: pushedOut, next: before.next });
  }

  async read(options) {
    if (this.pages.length > 0) await this.reread(options);
    if (this.wantsMore && !this.isWhole) {
      this.pages.push(await this.fetch(this.pages.at(-1)?.next ?? null, options));
      this.wantsMore = false;
    }
    return { rows: this.rows(), isWhole: this.isWhole };
  }
}

/** The experiments for these parameters of the API: data is {rows, isWhole}; `more()` reads further back. */
export function useExperiments(parameters) {
  const key = `experiments ${JSON.stringify(parameters)}`;
  const kept = useRef({ key: null, pages: null });
  if (kept.current.key !== key) kept.current = { key, pages: new Pages(parameters) };
  const resource = useResource(
    key,
    (options) => kept.current.pages.read(options),
    (event) => {
      if (QUIET.has(event.name)) return false;
      const subject = subjectOf(event);
      if (subject !== null) kept.current.pages.stale.add(subject);
      return subject !== null;
    },
  );
  const more = () => {
    const { pages } = kept.current;
    if (pages.isWhole || pages.wantsMore || pages.pages.length === 0) return;
    pages.wantsMore = true;
    resource.refresh();
  };
  return { ...resource, more };
}

/** The trials of an experiment as columns: read once, then only those that changed. */
import { get, to } from "./api.js";
import { touchesExperiment } from "./live.js";
import { useResource } from "./resource.js";
import { useRef } from "./view.js";

const FIELDS = ["index", "state", "metric", "best_step", "step", "slots", "restarts", "started_at", "ended_at"];
const TIMES = new Set(["started_at", "ended_at"]);
const OPEN = new Set(["WAITING", "RUNNING", "STOPPING", "PARKED"]);

/** A table of trials; rows are numbered from 0 in the order they were first seen, which is that of their indices. */
export class Trials {
  constructor(experimentId) {
    this.experimentId = experimentId;
    this.count = 0;
    this.rowOf = new Map();
    this.hyperparameters = new Map();
    for (const field of FIELDS) this[field] = [];
  }

  id(row) {
    return `${this.experimentId}-${this.index[row]}`;
  }

  /** The row of a trial's id, or undefined. */
  row(id) {
    return this.rowOf.get(Number((id ?? "").slice(this.experimentId.length + 1)));
  }

  isOpen(row) {
    return OPEN.has(this.state[row]);
  }

  /** How long it has trained since its first start, in seconds; null before. */
  seconds(row, now) {
    const from = this.started_at[row];
    return from === null ? null : ((this.ended_at[row] ?? now) - from) / 1000;
  }

  value(name, row) {
    return this.hyperparameters.get(name)?.[row] ?? null;
  }

  /** Take a page of columns in: rows that are known are replaced. */
  take(page) {
    const rows = page.index.map((index) => {
      if (!this.rowOf.has(index)) this.rowOf.set(index, this.count++);
      return this.rowOf.get(index);
    });
    for (const field of FIELDS) {
      const read = TIMES.has(field) ? (text) => (text === null ? null : Date.parse(text)) : (value) => value;
      rows.forEach((row, number) => (this[field][row] = read(page[field][number])));
    }
    for (const [name, values] of Object.entries(page.hyperparameters)) {
      if (!this.hyperparameters.has(name)) this.hyperparameters.set(name, []);
      const column = this.hyperparameters.get(name);
      rows.forEach((row, number) => (column[row] = values[number]));
    }
  }
}

const FIRST_PAGE = 500; // rows that are there at once, before the whole of a long table

async function readInto(trials, since, { onPart, ...options }) {
  const path = to`/experiments/${trials.experimentId}/trials/columns`;
  let limit = trials.count === 0 ? FIRST_PAGE : null;
  let cursor = null;
  do {
    const page = await get(path, { ...options, parameters: { since: since || null, cursor, limit } });
    trials.take(page);
    cursor = page.next_cursor;
    if (limit && cursor) onPart();
    limit = null;
  } while (cursor);
}

/** All trials of an experiment, kept current: data is {trials, version}; `trials` is the same object at each version. */
export function useTrials(experimentId) {
  const kept = useRef({ trials: null, seen: 0, version: 0 });
  return useResource(
    experimentId && `trials of ${experimentId}`,
    async (options) => {
      if (kept.current.trials?.experimentId !== experimentId) {
        kept.current = { trials: new Trials(experimentId), seen: 0, version: 0 };
      }
      const { trials, seen } = kept.current;
      const next = () => ({ trials, version: ++kept.current.version });
      await readInto(trials, seen, { ...options, onPart: () => options.onPart(next()) });
      kept.current.seen = options.minSeq;
      return next();
    },
    (event) => touchesExperiment(event, experimentId),
  );
}

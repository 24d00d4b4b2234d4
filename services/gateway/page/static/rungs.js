/** How trials did at the rungs of a search that stops most of them early: folded from what the searcher decided. */
import { get } from "./api.js";
import { momentSeq } from "./moment.js";

const PAGE_EVENTS = 1000;
const MOST_EVENTS = 20_000;
const NAMES = ["TrialExtended", "TrialStopped", "TrialClosed"];

/** The judgements by bracket and rung: Map "bracket.rung" -> {bracket, rung, units, numRungs, entries: Map trial -> {...}}. */
export class Rungs {
  constructor() {
    this.rungs = new Map();
  }

  /** Take an event in; says whether it told of a rung. */
  take({ name, event, seq }) {
    const judgement = event?.judgement;
    if (!judgement || !NAMES.includes(name)) return false;
    const key = `${judgement.bracket}.${judgement.rung}`;
    const rung = this.rungs.get(key) ?? { bracket: judgement.bracket, rung: judgement.rung, units: judgement.units, numRungs: judgement.num_rungs, entries: new Map() };
    const wentOn = name === "TrialExtended" || judgement.rung === judgement.num_rungs;
    rung.entries.set(event.trial_id, { trialId: event.trial_id, metric: judgement.metric ?? null, wentOn, place: judgement.place, seq });
    this.rungs.set(key, rung);
    return true;
  }

  /** The rungs of each bracket, lowest first: [[bracket, [rung, …]], …]. */
  byBracket() {
    const brackets = new Map();
    for (const rung of this.rungs.values()) brackets.set(rung.bracket, [...(brackets.get(rung.bracket) ?? []), rung]);
    return [...brackets].sort(([a], [b]) => a - b).map(([bracket, rungs]) => [bracket, rungs.sort((a, b) => a.rung - b.rung)]);
  }
}

/** Read the decisions of an experiment into `rungs`; returns whether all were read. */
export async function readRungs(experimentId, rungs, options) {
  for (const name of NAMES) {
    let [after, read, isEnd] = [0, 0, false];
    while (!isEnd) {
      const page = await get("/events", { ...options, parameters: { experiment: experimentId, name, after, limit: PAGE_EVENTS } });
      page.items.filter(({ seq }) => momentSeq === null || seq <= momentSeq).forEach((event) => rungs.take(event));
      read += page.items.length;
      isEnd = page.at_head;
      after = page.next_after;
      if (read > MOST_EVENTS) return false;
    }
  }
  return true;
}

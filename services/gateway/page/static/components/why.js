/** The causal chain of a trial, from submission to now, one sentence a fact; and the attempts that can be read from it. */
import { linkToEvents } from "../router.js";
import { html } from "../view.js";
import { Time } from "./time.js";

const MANY = 4; // this many facts of one name in a row become one line that opens

/** Group neighbours of the same name: [[fact], [fact, fact, …], …]. */
export function groupRuns(chain) {
  const runs = [];
  for (const fact of chain) {
    const last = runs.at(-1);
    if (last && last[0].name === fact.name) last.push(fact);
    else runs.push([fact]);
  }
  return runs.flatMap((run) => (run.length >= MANY ? [run] : run.map((fact) => [fact])));
}

function Causes({ seqs }) {
  if (!seqs?.length) return null;
  return html`<span class="soft">because of ${seqs.map(
    (seq, index) => html`${index > 0 && ", "}<a key=${seq} href=${linkToEvents({ seq })}>${seq}</a>`,
  )}</span>`;
}

function Fact({ fact }) {
  return html`<li class="step ${fact.writer.split("-")[0]}">
    <p>${fact.text}</p>
    <p class="small">
      <${Time} at=${fact.time} /> <a href=${linkToEvents({ seq: fact.seq })}>${fact.name}</a>${" "}
      <span class="soft">${fact.writer}${fact.actor && fact.actor !== fact.writer ? ` for ${fact.actor}` : ""}</span>${" "}
      <${Causes} seqs=${fact.causes} />
    </p>
  </li>`;
}

function Run({ facts }) {
  if (facts.length === 1) return html`<${Fact} fact=${facts[0]} />`;
  return html`<li class="step run"><details>
    <summary>${facts.length} × ${facts[0].name}, the last: ${facts.at(-1).text}</summary>
    <ol class="timeline">${facts.map((fact) => html`<${Fact} key=${fact.seq} fact=${fact} />`)}</ol>
  </details></li>`;
}

export function Timeline({ chain }) {
  return html`<ol class="timeline">${groupRuns(chain).map((facts) => html`<${Run} key=${facts[0].seq} facts=${facts} />`)}</ol>`;
}

const ENDS = new Set(["TrialExited", "TrialPreempted"]);

/** The attempts of a trial, oldest first: each begins with its slots and ends with its exit. */
export function attemptsOf(chain) {
  const attempts = new Map();
  for (const { name, time, event } of chain) {
    if (name === "GPUAllocated")
      attempts.set(event.epoch, { epoch: event.epoch, members: event.members, allocatedAt: time });
    const attempt = attempts.get(event.epoch);
    if (!attempt) continue;
    if (name === "TrialStarted")
      Object.assign(attempt, { startedAt: time, resumedFrom: event.resumed_from, isWarm: event.warm });
    if (ENDS.has(name))
      Object.assign(attempt, {
        endedAt: time,
        outcome: event.outcome ?? "preempted",
        exitCode: event.exit_code,
        error: event.error,
      });
    if (name === "GPUReleased") Object.assign(attempt, { releasedAt: time, release: event.reason });
  }
  return [...attempts.values()].sort((a, b) => a.epoch - b.epoch);
}

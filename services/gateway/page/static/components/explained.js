/** Why something is as it is: the answer in a sentence, then each decision with what it went by, then the events. */
import { linkToEvents } from "../router.js";
import { html } from "../view.js";
import { CausalGraph } from "./causal_graph.js";
import { Command } from "./command.js";
import { Shown } from "./notice.js";
import { Time } from "./time.js";
import { Timeline } from "./why.js";

const SILENT_EVENTS = new Set(["MetricReported", "CheckpointSaved", "CheckpointShardUploaded"]); // change nobody's wait

/** Say whether an event may change why something waits: the queue moves with all of them. */
export const movesTheQueue = (event) => !SILENT_EVENTS.has(event.name);

function Answer({ answer: { question, text, seq, time, detail } }) {
  return html`<div class="answer">
    <dt>${question}${" "}
      <span class="soft small">${time && html`<${Time} at=${time} />`} ${seq && html`<a href=${linkToEvents({ seq })}>event ${seq}</a>`}</span></dt>
    <dd>${text}
      ${detail && html`<details class="small"><summary>what it went by</summary><pre tabindex="0">${JSON.stringify(detail, null, 2)}</pre></details>`}
    </dd>
  </div>`;
}

/** The explanation of a trial, an experiment or an agent; `why` is the resource that holds it. */
export function Explained({ why, command }) {
  return html`<section aria-labelledby="why-title">
    <header class="bar"><h2 id="why-title">Why</h2><${Command} text=${command} /></header>
    <${Shown} resource=${why} what="explanation">${({ kind, head, explanations, chain }) => html`
      <p class="reason">${head}</p>
      <dl class="answers">${explanations.map((answer, index) => html`<${Answer} key=${index} answer=${answer} />`)}</dl>
      <h3>How it came there <span class="soft small">each event and what caused it, oldest first; click one to see the way that led to it</span></h3>
      ${kind !== "agent" && html`<${CausalGraph} chain=${chain} />`}
      <${Timeline} chain=${chain} />
    `}<//>
  </section>`;
}

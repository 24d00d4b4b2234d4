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

const MANY = 4; // so many answers to one question in a row are a list

/** Neighbours with the same question, or that differ in the number it begins with: [[answer], [answer, …], …]. */
function runsOf(answers) {
  const subject = ({ question }) => question.replace(/^\d+ trials? /, "trials ");
  const runs = [];
  for (const answer of answers) {
    if (runs.length > 0 && subject(runs.at(-1)[0]) === subject(answer)) runs.at(-1).push(answer);
    else runs.push([answer]);
  }
  return runs.flatMap((run) => (run.length >= MANY ? [run] : run.map((answer) => [answer])));
}

function Run({ answers }) {
  if (answers.length === 1) return html`<${Answer} answer=${answers[0]} />`;
  const subject = answers[0].question.replace(/^\d+ trials? /, "Trials that are ");
  return html`<div class="answer"><dt>${subject} <span class="soft small">${answers.length} answers</span></dt>
    <dd><details open=${answers.length <= 2 * MANY}><summary class="small">${answers[0].text}${answers.length > 1 && `, and ${answers.length - 1} more`}</summary>
      <ul class="files">${answers.map(({ question, text, seq }, index) => html`<li key=${index}>${/^\d+ trials/.test(question) && `${question.split(" ")[0]} × `}${text} ${seq && html`<a class="small" href=${linkToEvents({ seq })}>event ${seq}</a>`}</li>`)}</ul></details></dd></div>`;
}

/** The explanation of a trial, an experiment or an agent; `why` is the resource that holds it. */
export function Explained({ why, command }) {
  return html`<section aria-labelledby="why-title">
    <header class="bar"><h2 id="why-title">Why</h2><${Command} text=${command} /></header>
    <${Shown} resource=${why} what="explanation">${({ kind, head, explanations, chain }) => html`
      <p class="reason">${head}</p>
      <dl class="answers">${runsOf(explanations).map((answers, index) => html`<${Run} key=${index} answers=${answers} />`)}</dl>
      <h3>How it came there <span class="soft small">each event and what caused it, oldest first; click one to see the way that led to it</span></h3>
      ${kind !== "agent" && html`<${CausalGraph} chain=${chain} />`}
      <${Timeline} chain=${chain} />
    `}<//>
  </section>`;
}

/** The slots of all agents as boxes: who holds each, which take no work. */
import { formatBytes, formatCount } from "../format.js";
import { link } from "../router.js";
import { html } from "../view.js";
import { Action } from "./action.js";
import { agentActions, enableOf } from "./agent_actions.js";
import { Empty } from "./notice.js";
import { State } from "./state.js";
import { Age } from "./time.js";

const NUM_HUES = 8;
const CLOSED = { DRAINING: "draining", DISABLED: "disabled" };

/** A stable hue per experiment, so that a gang, and a search, is seen at a glance. */
export function hueOf(trialId) {
  const experiment = trialId.slice(0, trialId.lastIndexOf("-"));
  return [...experiment].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 65521, 7) % NUM_HUES;
}

function Slot({ agent, slot }) {
  const memory = slot.memory_bytes ? `, ${formatBytes(slot.memory_bytes)}` : "";
  const closed = CLOSED[slot.availability] ?? CLOSED[agent.availability];
  const sick = slot.unhealthy ? `, unhealthy: ${slot.unhealthy}` : "";
  const what = `${agent.id} slot ${slot.number} (${slot.name || slot.kind}${memory})${closed ? `, ${closed}` : ""}${sick}`;
  const marks = `${closed || sick ? "closed" : ""} ${sick ? "sick" : ""}`;
  if (!slot.trial_id)
    return html`<li class="slot free ${marks}" title=${`${what}: free`}><span class="slot-number">${slot.number}</span><span>${sick ? "unhealthy" : (closed ?? "free")}</span></li>`;
  return html`<li class="slot held hue-${hueOf(slot.trial_id)} ${marks}">
    <a href=${link("trials", slot.trial_id)} title=${`${what}: held by ${slot.trial_id}`}>
      <span class="slot-number">${slot.number}${sick ? " unhealthy" : closed && ` ${closed}`}</span><span>trial ${slot.trial_id.split("-").at(-1)}</span>
    </a>
  </li>`;
}

function Agent({ agent, onDone }) {
  const numHeld = agent.slots.filter(({ trial_id: id }) => id).length;
  const kinds = [...new Set(agent.slots.map(({ name, kind }) => name || kind))].join(", ");
  const labels = Object.entries(agent.labels ?? {});
  const sick = agent.slots.filter(({ unhealthy }) => unhealthy);
  return html`<article class="agent ${agent.state.toLowerCase()}" aria-label=${`Agent ${agent.id}`}>
    <header><h3><a href=${link("agents", agent.id)}>${agent.id}</a></h3> <${State} state=${agent.state} />
      ${agent.availability !== "ENABLED" && html`<span class="label">${CLOSED[agent.availability]}</span>`}
      <span class="buttons small">${agent.state === "UP" && agentActions(agent).map((action) => html`<${Action} key=${action.verb} action=${action} className="quiet" onDone=${onDone} />`)}</span></header>
    <p class="soft small">pool ${agent.pool} · ${agent.address} · ${kinds} · ${numHeld} of ${agent.slots.length} in use · joined <${Age} at=${agent.joined_at} />
      ${labels.map(([name, value]) => html`<span key=${name} class="label">${name}=${value}</span>`)}</p>
    <ul class="slots">${agent.slots.map((slot) => html`<${Slot} key=${slot.number} agent=${agent} slot=${slot} />`)}</ul>
    ${sick.map((slot) => html`<p key=${slot.number} class="small bad-text fault">Slot ${slot.number} is unhealthy and gets no work: ${slot.unhealthy}. <${Action} action=${enableOf(agent, slot.number)} className="quiet" onDone=${onDone} /></p>`)}
  </article>`;
}

export function SlotMap({ items, onDone }) {
  if (items.length === 0) {
    return html`<${Empty} title="No agents yet" command="tm up --slots cpu:2">
      An agent is the worker process on a machine; it offers the machine's GPUs (or CPU places) as slots.
    <//>`;
  }
  const up = items.filter(({ state }) => state === "UP");
  const gone = items.filter(({ state }) => state !== "UP");
  const slots = up.flatMap((agent) => agent.slots);
  const numHeld = slots.filter(({ trial_id: id }) => id).length;
  return html`
    <p>
      <span class="figure">${formatCount(numHeld)}</span> of ${formatCount(slots.length)} slots in use${" "}
      on ${formatCount(up.length)} ${up.length === 1 ? "agent" : "agents"}
    </p>
    <div class="agents">${up.map((agent) => html`<${Agent} key=${agent.id} agent=${agent} onDone=${onDone} />`)}</div>
    ${
      gone.length > 0 &&
      html`<details open=${up.length === 0}><summary>${gone.length} lost or gone</summary>
      <div class="agents">${gone.map((agent) => html`<${Agent} key=${agent.id} agent=${agent} onDone=${onDone} />`)}</div></details>`
    }
  `;
}

/** One agent: how it is and why, what it runs and for whom, what it ran last, who closed it. */
import { to } from "../api.js";
import { Action } from "../components/action.js";
import { agentActions } from "../components/agent_actions.js";
import { Explained } from "../components/explained.js";
import { Shown } from "../components/notice.js";
import { State } from "../components/state.js";
import { Table } from "../components/table.js";
import { formatBytes } from "../format.js";
import { useAll, usePath } from "../resource.js";
import { link } from "../router.js";
import { html, useEffect } from "../view.js";

const SLOT_EVENTS = new Set(["AgentDrainRequested", "AgentDisabled", "AgentEnabled", "SlotUnhealthy", "SlotRecovered"]);

/** Say whether an event is about this agent, or gives it work or takes work from it. */
function touchesAgent(event, id) {
  const { agent_id: agent, members } = event.event ?? {};
  return agent === id || event.aggregate_id === id || event.name === "GPUReleased" || members?.some((m) => m.agent_id === id);
}

function takesWork(agent, slot) {
  if (slot.unhealthy) return html`<span class="bad-text">no, unhealthy: ${slot.unhealthy}</span>`;
  const closed = [slot, agent].find(({ availability }) => availability !== "ENABLED");
  return closed ? closed.availability.toLowerCase() : "yes";
}

const SLOT_COLUMNS = (agent) => [
  { name: "number", title: "Slot", class: "number", value: (row) => row.number, cell: (row) => row.number },
  { name: "device", title: "Device", cell: (row) => html`${row.name || row.kind}${row.memory_bytes && html` <span class="soft">${formatBytes(row.memory_bytes)}</span>`}` },
  { name: "holder", title: "Held by", cell: (row) => (row.trial_id ? html`<a href=${link("trials", row.trial_id)}>${row.trial_id}</a>` : html`<span class="soft">nobody</span>`) },
  { name: "availability", title: "Takes work", class: "text", cell: (row) => takesWork(agent, row) },
  { name: "actions", title: html`<span class="unseen">Change</span>`, class: "actions", cell: (row) => agentActions(agent, row.number).map((action) => html`<${Action} key=${action.verb} action=${action} className="quiet" />`) },
];

function Slots({ agent }) {
  return html`<section aria-labelledby="slots-title"><h2 id="slots-title">Slots</h2>
    <${Table} label="Slots" columns=${SLOT_COLUMNS(agent)} rows=${agent.slots} rowKey=${(row) => row.number} /></section>`;
}

export function Agent({ id }) {
  const agents = useAll("/agents", (event) => touchesAgent(event, id) || SLOT_EVENTS.has(event.name));
  const agent = agents.data?.items.find((each) => each.id === id);
  const why = usePath(to`/agents/${id}/why`, (event) => touchesAgent(event, id));
  useEffect(() => {
    document.title = `agent ${id} · Trainmaster`;
  }, [id]);
  return html`
    <p class="crumbs"><a href="#/cluster">Cluster</a></p>
    <${Shown} resource=${why} what="agent">${({ state }) => html`
      <header class="head"><h1>Agent ${id} <${State} state=${state} /></h1>
        <div class="buttons">${agent && state === "UP" && agentActions(agent).map((action) => html`<${Action} key=${action.verb} action=${action} />`)}</div></header>
      ${agent && html`<${Slots} agent=${agent} />`}
      <${Explained} why=${why} command=${`tm why ${id}`} />
    `}<//>
  `;
}

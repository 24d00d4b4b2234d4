/** The resource pools: how each is scheduled, and how full it is. */
import { send, to, urlOf } from "../api.js";
import { commandLine } from "../command_line.js";
import { formatCount, formatDuration } from "../format.js";
import { html } from "../view.js";
import { Action } from "./action.js";
import { Table } from "./table.js";

const POLICIES = { priority: "by priority", fair_share: "fair share", fifo: "first come, first served" };

/** A policy in words, as `tm pools` writes it. */
function describe({ type, preemption, fitting, reserve_after_s: reserve }) {
  const parts = [POLICIES[type] ?? type, preemption ? "preempts" : "never preempts", fitting === "best" ? "packs agents" : "spreads over agents"];
  return [...parts, ...(reserve === null ? [] : [`reserves after ${formatDuration(reserve)}`])].join(", ");
}

/** The query of a change: what the form says over what there is. */
function wanted(policy, form) {
  const type = form.get("type");
  return { ...policy, type, preemption: form.has("preemption") || type === "fair_share", fitting: form.get("fitting") };
}

const changeOf = ({ id, policy }) => ({
  verb: "Change",
  title: `How is pool ${id} scheduled?`,
  explanation: "For what waits and what runs, at once. Fair share is nothing without preemption.",
  command: (form) => {
    const { type, preemption, fitting } = wanted(policy, form);
    return commandLine("pools set", [id], { "--policy": type, "--preemption": preemption, "--no-preemption": !preemption, "--fitting": fitting });
  },
  fields: html`
    <p><label>Slots go <select name="type">${Object.entries(POLICIES).map(([type, words]) => html`<option key=${type} value=${type} selected=${type === policy.type}>${words}</option>`)}</select></label></p>
    <p><label><input type="checkbox" name="preemption" defaultChecked=${policy.preemption} /> running trials may be asked to stop for others</label></p>
    <p><label>Gangs <select name="fitting"><option value="best" selected=${policy.fitting === "best"}>are packed onto few agents</option><option value="worst" selected=${policy.fitting === "worst"}>are spread over the agents</option></select></label></p>`,
  run: (form) => send("PUT", urlOf(to`/pools/${id}`, wanted(policy, form)).slice("/api/v1".length)).then(({ seq }) => seq),
});

function Filled({ held, slots }) {
  return html`<span class="filled"><meter min="0" max=${Math.max(slots, 1)} value=${held} aria-label=${`${held} of ${slots} slots are held`}></meter> ${formatCount(held)} of ${formatCount(slots)}</span>`;
}

const columns = (onDone) => [
  { name: "pool", title: "Pool", value: (row) => row.id, cell: (row) => html`<strong>${row.id}</strong>` },
  { name: "policy", title: "Slots go", class: "text", cell: (row) => describe(row.policy) },
  { name: "held", title: "Slots held", value: (row) => row.held, cell: (row) => html`<${Filled} ...${row} />` },
  { name: "closed", title: "Closed", class: "number", value: (row) => row.closed, cell: (row) => row.closed || "–" },
  { name: "agents", title: "Agents", class: "number", value: (row) => row.agents, cell: (row) => formatCount(row.agents) },
  { name: "running", title: "Trials run", class: "number", value: (row) => row.running, cell: (row) => formatCount(row.running) },
  { name: "waiting", title: "wait", class: "number", value: (row) => row.waiting, cell: (row) => formatCount(row.waiting) },
  { name: "actions", title: html`<span class="unseen">Change</span>`, class: "actions", cell: (row) => html`<${Action} action=${changeOf(row)} className="quiet" onDone=${onDone} />` },
];

export function Pools({ items, onDone }) {
  if (items.length === 0) return html`<p class="soft">None yet: the first agent that joins brings one.</p>`;
  return html`<${Table} label="Pools" columns=${columns(onDone)} rows=${items} rowKey=${(row) => row.id} />`;
}

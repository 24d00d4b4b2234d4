/** The cluster: every slot as a box with the trial that holds it, the queue and its reasons, the services' health. */
import { get } from "../api.js";
import { Empty, Shown } from "../components/notice.js";
import { State } from "../components/state.js";
import { Table } from "../components/table.js";
import { Age, Time } from "../components/time.js";
import { formatBytes, formatCount } from "../format.js";
import { usePath, useResource } from "../resource.js";
import { link } from "../router.js";
import { html, useEffect } from "../view.js";

const NUM_HUES = 8;
const TROUBLE_MS = 2000;
const MAX_ASIDE = 20;
const SLOT_EVENTS = new Set(["AgentJoined", "AgentLeft", "AgentLost", "GPUAllocated", "GPUReleased"]);
const SILENT_EVENTS = new Set(["MetricReported", "CheckpointSaved", "CheckpointShardUploaded"]); // change neither slots nor queue

/** A stable hue per experiment, so that a gang, and a search, is seen at a glance. */
function hueOf(trialId) {
  const experiment = trialId.slice(0, trialId.lastIndexOf("-"));
  return [...experiment].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 65521, 7) % NUM_HUES;
}

function Slot({ agent, slot }) {
  const memory = slot.memory_bytes ? `, ${formatBytes(slot.memory_bytes)}` : "";
  const what = `${agent.id} slot ${slot.number} (${slot.name || slot.kind}${memory})`;
  if (!slot.trial_id)
    return html`<li class="slot free" title=${`${what}: free`}><span class="slot-number">${slot.number}</span><span>free</span></li>`;
  return html`<li class="slot held hue-${hueOf(slot.trial_id)}">
    <a href=${link("trials", slot.trial_id)} title=${`${what}: held by ${slot.trial_id}`}>
      <span class="slot-number">${slot.number}</span><span>trial ${slot.trial_id.split("-").at(-1)}</span>
    </a>
  </li>`;
}

function Agent({ agent }) {
  const numHeld = agent.slots.filter(({ trial_id: id }) => id).length;
  const kinds = [...new Set(agent.slots.map(({ name, kind }) => name || kind))].join(", ");
  return html`<article class="agent ${agent.state.toLowerCase()}" aria-label=${`Agent ${agent.id}`}>
    <header><h3><a href=${link("agents", agent.id)}>${agent.id}</a></h3> <${State} state=${agent.state} /></header>
    <p class="soft small">pool ${agent.pool} · ${agent.address} · ${kinds} · ${numHeld} of ${agent.slots.length} in use · joined <${Age} at=${agent.joined_at} /></p>
    <ul class="slots">${agent.slots.map((slot) => html`<${Slot} key=${slot.number} agent=${agent} slot=${slot} />`)}</ul>
  </article>`;
}

function Agents({ items }) {
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
    <div class="agents">${up.map((agent) => html`<${Agent} key=${agent.id} agent=${agent} />`)}</div>
    ${
      gone.length > 0 &&
      html`<details open=${up.length === 0}><summary>${gone.length} lost or gone</summary>
      <div class="agents">${gone.map((agent) => html`<${Agent} key=${agent.id} agent=${agent} />`)}</div></details>`
    }
  `;
}

const QUEUE_COLUMNS = [
  { name: "position", title: "#", class: "number", cell: (row) => row.position },
  {
    name: "trial",
    title: "Trial",
    cell: (row) => html`<a href=${link("trials", row.trial_id)}>trial ${row.trial_id.split("-").at(-1)}</a>`,
  },
  {
    name: "experiment",
    title: "Experiment",
    cell: (row) => html`<a href=${link("experiments", row.experiment_id)}>${row.experiment_name}</a>`,
  },
  { name: "slots", title: "Slots", class: "number", cell: (row) => row.slots },
  { name: "pool", title: "Pool", cell: (row) => row.pool },
  { name: "since", title: "Waiting since", cell: (row) => html`<${Age} at=${row.waiting_since} />` },
  {
    name: "expected",
    title: "Expected start",
    cell: (row) =>
      row.expected_start
        ? html`<span title=${row.expected_why}><${Time} at=${row.expected_start} /></span>`
        : html`<span class="soft" title=${row.expected_why}>not known</span>`,
  },
  { name: "reason", title: "Why it waits", class: "text", cell: (row) => row.reason },
];

function Queue({ items, num_waiting: total, position }) {
  if (items.length === 0) return html`<p class="soft">Nothing waits: every trial that was asked for has its slots.</p>`;
  return html`
    ${position === null && html`<p class="bad-text">The scheduler does not answer: order and reasons are not known.</p>`}
    <${Table} label="Queue" columns=${QUEUE_COLUMNS} rows=${items} rowKey=${(row) => row.trial_id} />
    ${total > items.length && html`<p class="soft">The first ${formatCount(items.length)} of ${formatCount(total)}; all: <code>tm queue</code></p>`}
  `;
}

const SERVICE_COLUMNS = [
  {
    name: "name",
    title: "Service",
    cell: (row) => (row.instance === "main" ? row.name : `${row.name} ${row.instance}`),
  },
  {
    name: "alive",
    title: "Health",
    cell: (row) => html`<span class="state ${row.alive ? "good" : "bad"}">${row.alive ? "answers" : "silent"}</span>`,
  },
  { name: "heard", title: "Last heard", cell: (row) => html`<${Time} at=${row.last_heard} />` },
  {
    name: "position",
    title: "Read up to",
    class: "number",
    cell: (row) => (row.position === null ? "–" : formatCount(row.position)),
  },
  { name: "lag", title: "Behind", class: "number", cell: (row) => (row.lag ? `${formatCount(row.lag)} events` : "–") },
];

const isWell = ({ services }) => services.every(({ alive, lag }) => alive && !lag);

function Health({ status, refresh }) {
  useEffect(() => {
    if (isWell(status)) return undefined; // a service that catches up or comes back does so without an event
    const timer = setTimeout(refresh, TROUBLE_MS);
    return () => clearTimeout(timer);
  }, [status]);
  return html`
    <${Table} label="Services" columns=${SERVICE_COLUMNS} rows=${status.services} rowKey=${(row) => `${row.name} ${row.instance}`} />
    <p class="soft">
      The log holds ${formatCount(status.log.events)} events (${formatBytes(status.log.bytes)}),${" "}
      the newest is ${formatCount(status.log.last_seq)}.${" "}
      As of <${Time} at=${status.readAt} />. <button type="button" class="quiet" onClick=${refresh}>Look again</button></p>
  `;
}

const ASIDE_COLUMNS = [
  { name: "seq", title: "Sequence", class: "number", cell: (row) => `${row.stream} ${formatCount(row.seq)}` },
  { name: "stored", title: "Stored", cell: (row) => html`<${Time} at=${row.stored_at} />` },
  { name: "subject", title: "Subject", class: "text", cell: (row) => html`<code>${row.subject}</code>` },
  { name: "size", title: "Size", class: "number", cell: (row) => formatBytes(row.size_bytes) },
  { name: "reason", title: "Why", class: "text", cell: (row) => row.reason },
];

function SetAside({ items, total }) {
  if (total === 0) return null;
  const rest = total > items.length ? ` The newest ${items.length} are shown.` : "";
  return html`
    <h3>Set aside</h3>
    <p class="soft"><span class="bad-text">${formatCount(total)} ${total === 1 ? "message" : "messages"}</span>${" "}
      could not be used. They hold nothing up.${rest}</p>
    <${Table} label="Set aside" columns=${ASIDE_COLUMNS} rows=${items} rowKey=${(row) => `${row.stream} ${row.seq}`} />
  `;
}

/** The status, and when it was read: heartbeats are no events, so it may have changed since. */
async function readStatus(options) {
  return { ...(await get("/status", options)), readAt: new Date().toISOString() };
}

export function Cluster() {
  const agents = usePath("/agents", (event) => SLOT_EVENTS.has(event.name));
  const queue = usePath("/queue", (event) => !SILENT_EVENTS.has(event.name));
  const aside = usePath(`/set-aside?limit=${MAX_ASIDE}`, (event) => !SILENT_EVENTS.has(event.name));
  const status = useResource("/status", readStatus, (event) => !SILENT_EVENTS.has(event.name));
  const refresh = () => [status, aside].forEach((resource) => resource.refresh());
  return html`
    <h1>Cluster</h1>
    <section aria-labelledby="slots-title"><h2 id="slots-title">Slots</h2>
      <${Shown} resource=${agents} what="agents">${(data) => html`<${Agents} items=${data.items} />`}<//></section>
    <section aria-labelledby="queue-title"><h2 id="queue-title">Queue</h2>
      <${Shown} resource=${queue} what="queue">${(data) => html`<${Queue} ...${data} />`}<//></section>
    <section aria-labelledby="services-title"><h2 id="services-title">Services</h2>
      <${Shown} resource=${status} what="services' health">${(data) => html`<${Health} status=${data} refresh=${refresh} />`}<//>
      <${Shown} resource=${aside} what="messages set aside">${(data) => html`<${SetAside} ...${data} />`}<//></section>
  `;
}

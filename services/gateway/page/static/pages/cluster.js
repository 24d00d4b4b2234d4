/** The cluster: every slot as a box with the trial that holds it, the queue and its reasons, the services' health. */
import { urlOf } from "../api.js";
import { Shown } from "../components/notice.js";
import { Occupancy } from "../components/occupancy.js";
import { Pools } from "../components/pools.js";
import { Queue } from "../components/queue.js";
import { SlotMap } from "../components/slot_map.js";
import { Table } from "../components/table.js";
import { Time } from "../components/time.js";
import { moment } from "../moment.js";
import { formatBytes, formatCount } from "../format.js";
import { useAll, usePath } from "../resource.js";
import { seesAll } from "../session.js";
import { keepOpen } from "../stream.js";
import { html, useEffect, useState } from "../view.js";

const MAX_ASIDE = 20;
const SLOT_EVENTS = new Set(["AgentJoined", "AgentLeft", "AgentLost", "AgentDrainRequested", "AgentDisabled", "AgentEnabled", "SlotUnhealthy", "SlotRecovered", "GPUAllocated", "GPUReleased"]);
const SILENT_EVENTS = new Set(["MetricReported", "CheckpointSaved", "CheckpointShardUploaded"]); // change neither slots nor queue

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

function Health({ status }) {
  return html`
    <${Table} label="Services" columns=${SERVICE_COLUMNS} rows=${status.services} rowKey=${(row) => `${row.name} ${row.instance}`} />
    <p class="soft">
      The log holds ${formatCount(status.log.events)} events (${formatBytes(status.log.bytes)}),${" "}
      the newest is ${formatCount(status.log.last_seq)}.${" "}
      ${moment === null ? "This table follows the services by itself." : "This table is as of now."}</p>
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

/** The status as the server tells it, now and whenever it has changed: heartbeats are no events. */
function useStatus() {
  const [data, setData] = useState(null);
  useEffect(() => keepOpen({ url: () => urlOf("/status/stream"), onMessage: (message) => setData(JSON.parse(message.data)) }), []);
  return { data, error: null };
}

export function Cluster() {
  const agents = useAll("/agents", (event) => SLOT_EVENTS.has(event.name));
  const queue = usePath("/queue", (event) => !SILENT_EVENTS.has(event.name));
  const pools = usePath("/pools", (event) => !SILENT_EVENTS.has(event.name));
  const aside = usePath(seesAll() ? `/set-aside?limit=${MAX_ASIDE}` : null, (event) => !SILENT_EVENTS.has(event.name));
  const status = useStatus();
  useEffect(() => aside.refresh(), [status.data?.set_aside]);
  return html`
    <h1>Cluster</h1>
    <section aria-labelledby="slots-title"><h2 id="slots-title">Slots</h2>
      <${Shown} resource=${agents} what="agents">${(data) => html`<${SlotMap} items=${data.items} onDone=${agents.refresh} />`}<//></section>
    <section aria-labelledby="pools-title"><h2 id="pools-title">Pools</h2>
      <${Shown} resource=${pools} what="pools">${(data) => html`<${Pools} items=${data.items} onDone=${pools.refresh} />`}<//></section>
    <section aria-labelledby="queue-title"><h2 id="queue-title">Queue</h2>
      <${Shown} resource=${queue} what="queue">${(data) => html`<${Queue} ...${data} onDone=${queue.refresh} />`}<//></section>
    ${moment === null && html`<${Occupancy} />`}
    <section aria-labelledby="services-title"><h2 id="services-title">Services</h2>
      <${Shown} resource=${status} what="services' health">${(data) => html`<${Health} status=${data} />`}<//>
      ${seesAll() && html`<${Shown} resource=${aside} what="messages set aside">${(data) => html`<${SetAside} ...${data} />`}<//>`}</section>
  `;
}

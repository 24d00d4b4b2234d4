/** Tables on a trial's page: its attempts and its checkpoints. */
import { to, urlOf } from "../api.js";
import { formatBytes, formatCount } from "../format.js";
import { usePath } from "../resource.js";
import { html, useState } from "../view.js";
import { Command } from "./command.js";
import { Shown } from "./notice.js";
import { Table } from "./table.js";
import { Duration, Time } from "./time.js";

const placesOf = (members) => members.map(({ agent_id: id, slots }) => `${id}: ${slots.join(", ")}`).join("; ");

function outcomeOf(attempt) {
  if (attempt.outcome === "failed")
    return html`<span class="bad-text">failed, exit code ${attempt.exitCode ?? "unknown"}</span>`;
  return attempt.outcome ?? attempt.release ?? (attempt.startedAt ? "running" : "starting");
}

const ATTEMPT_COLUMNS = [
  { name: "epoch", title: "#", class: "number", cell: (row) => row.epoch },
  { name: "slots", title: "Slots", cell: (row) => placesOf(row.members) },
  { name: "started", title: "Started", cell: (row) => html`<${Time} at=${row.startedAt} />` },
  {
    name: "took",
    title: "Took",
    class: "number",
    cell: (row) => html`<${Duration} from=${row.startedAt} to=${row.endedAt ?? row.releasedAt} />`,
  },
  {
    name: "resumed",
    title: "From",
    cell: (row) =>
      row.resumedFrom
        ? html`<span title=${row.resumedFrom}>step ${row.resumedFrom.split("-s").at(-1)}</span>`
        : "the start",
  },
  { name: "outcome", title: "Outcome", cell: outcomeOf },
];

/** Each time the trial held slots. */
export function Attempts({ attempts }) {
  return html`<section aria-labelledby="attempts-title">
    <h2 id="attempts-title">Attempts</h2>
    ${
      attempts.length === 0
        ? html`<p class="soft">None yet: the trial waits for its slots. <a href="#/cluster">See the queue</a></p>`
        : html`<${Table} label="Attempts" columns=${ATTEMPT_COLUMNS} rows=${attempts} rowKey=${(row) => row.epoch} />
          ${attempts
            .filter(({ error }) => error)
            .map(
              ({ epoch, error }) => html`<details key=${epoch}>
            <summary>Error of attempt ${epoch}</summary><pre tabindex="0">${error}</pre>
          </details>`,
            )}`
    }
  </section>`;
}

function Files({ checkpoint }) {
  return html`<details>
    <summary>${checkpoint.files.length} ${checkpoint.files.length === 1 ? "file" : "files"}</summary>
    <ul class="files">${checkpoint.files.map(
      (file) => html`<li key=${file.path}>
      <a href=${urlOf(to`/checkpoints/${checkpoint.id}/files/` + file.path.split("/").map(encodeURIComponent).join("/"))} download>${file.path}</a>${" "}
      <span class="soft" title=${`sha256 ${file.sha256}`}>${formatBytes(file.size_bytes)}</span>
    </li>`,
    )}</ul>
  </details>`;
}

const marksOf = (checkpoint, trial) =>
  [
    [trial.best_checkpoint_id, "best"],
    [trial.latest_checkpoint_id, "newest"],
  ]
    .filter(([id]) => id === checkpoint.id)
    .map(([, mark]) => html` <span key=${mark} class="label ${mark === "best" ? "good" : ""}">${mark}</span>`);

const GONE = new Set(["DELETING", "DELETED"]);
const CHECKPOINT_EVENTS = /^Checkpoint(Saved|Refused|Deleted|DeletionRequested)$/;

/** What became of a checkpoint that no trial can resume from. */
const fateOf = ({ state, reason }) =>
  state !== "ACTIVE" && html` <span class=${`label ${state === "DAMAGED" ? "bad" : ""}`} title=${reason ?? ""}>${state.toLowerCase()}</span>`;

function checkpointColumns(trial) {
  return [
    { name: "step", title: "Step", class: "number", value: (row) => row.step, cell: (row) => formatCount(row.step) },
    {
      name: "saved",
      title: "Saved",
      value: (row) => row.saved_at,
      cell: (row) => html`<${Time} at=${row.saved_at} />${marksOf(row, trial)}${fateOf(row)}`,
    },
    {
      name: "size",
      title: "Size",
      class: "number",
      value: (row) => row.size_bytes,
      cell: (row) => formatBytes(row.size_bytes),
    },
    {
      name: "ranks",
      title: "Ranks",
      class: "number",
      cell: (row) =>
        html`${row.world_size}${row.zero_stage !== null && html` <span class="soft">ZeRO-${row.zero_stage}</span>`}`,
    },
    {
      name: "files",
      title: "Files",
      cell: (row) => (GONE.has(row.state) ? row.files.length : html`<${Files} checkpoint=${row} />`),
    },
    {
      name: "download",
      title: "Download",
      cell: (row) =>
        !GONE.has(row.state) &&
        html`<a href=${urlOf(to`/checkpoints/${row.id}/archive`)} download aria-label=${`archive of the checkpoint at step ${row.step}`}>archive</a>`,
    },
  ];
}

/** The checkpoints, newest first, each with its files. */
export function Checkpoints({ trial }) {
  const [isWhole, setWhole] = useState(false);
  const resource = usePath(
    `${to`/trials/${trial.id}/checkpoints`}?limit=500`,
    (event) => CHECKPOINT_EVENTS.test(event.name) && event.event.trial_id === trial.id,
  );
  const chosen = trial.best_checkpoint_id ?? trial.latest_checkpoint_id;
  return html`<section aria-labelledby="checkpoints-title">
    <header class="bar"><h2 id="checkpoints-title">Checkpoints</h2>${chosen && html`<${Command} text=${`tm checkpoint download ${chosen}`} />`}</header>
    <${Shown} resource=${resource} what="checkpoints">${({ items }) =>
      items.length === 0
        ? html`<p class="soft">None saved. In the training script: <code>trial.checkpoint(engine, step)</code>.</p>`
        : html`<${Table} label="Checkpoints" columns=${checkpointColumns(trial)} rows=${items.filter(({ state }) => isWhole || state !== "DELETED")} rowKey=${(row) => row.id}
            first=${{ name: "saved", isDescending: true }} />
          ${items.some(({ state }) => state === "DELETED") && html`<p><button type="button" class="quiet" onClick=${() => setWhole(!isWhole)}>${isWhole ? "Hide" : "Show"} the ${items.filter(({ state }) => state === "DELETED").length} deleted ones</button></p>`}`}<//>
  </section>`;
}

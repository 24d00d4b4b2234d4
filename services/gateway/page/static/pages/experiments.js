/** The list of experiments, newest first, live. */
import { getAll } from "../api.js";
import { Empty, Shown } from "../components/notice.js";
import { Progress, State } from "../components/state.js";
import { Table } from "../components/table.js";
import { Age } from "../components/time.js";
import { formatCount, formatValue } from "../format.js";
import { useResource } from "../resource.js";
import { link } from "../router.js";
import { html, useState } from "../view.js";

const PAGE_ROWS = 100;
const QUIET = new Set(["AgentJoined", "AgentLeft"]);

const COLUMNS = [
  {
    name: "name",
    title: "Experiment",
    class: "name",
    value: (row) => row.name,
    cell: (row) =>
      html`<a href=${link("experiments", row.id)}>${row.name}</a> <span class="soft mono">${row.id}</span>`,
  },
  { name: "state", title: "State", value: (row) => row.state, cell: (row) => html`<${State} state=${row.state} />` },
  {
    name: "progress",
    title: "Progress",
    value: (row) => row.progress,
    cell: (row) => html`<${Progress} value=${row.progress} state=${row.state} label=${`Progress of ${row.name}`} />`,
  },
  {
    name: "best",
    title: "Best",
    class: "number",
    value: (row) => row.best?.metric,
    cell: (row) =>
      html`<span title=${row.searcher.metric}>${formatValue(row.best?.metric)}</span> <span class="soft wide">${row.searcher.metric}</span>`,
  },
  { name: "trials", title: "Trials", class: "number", value: (row) => finished(row), cell: (row) => trialsOf(row) },
  {
    name: "searcher",
    title: "Search",
    class: "wide",
    value: (row) => row.searcher.name,
    cell: (row) => row.searcher.name,
  },
  {
    name: "slots",
    title: "Slots",
    class: "number wide",
    value: (row) => row.slots_per_trial,
    cell: (row) => row.slots_per_trial,
  },
  {
    name: "age",
    title: "Submitted",
    value: (row) => row.submitted_at,
    cell: (row) => html`<${Age} at=${row.submitted_at} />`,
  },
];

const finished = ({ trials }) => trials.completed + trials.failed + trials.canceled;

function trialsOf(row) {
  const most = Math.max(row.searcher.max_trials ?? 0, row.trials.total);
  const { failed, running } = row.trials;
  const title = `${row.trials.completed} completed, ${failed} failed, ${row.trials.canceled} canceled, ${running} running, ${row.trials.waiting} waiting`;
  return html`<span title=${title}>
    ${formatCount(finished(row))} / ${formatCount(most)}${failed > 0 && html`<span class="bad-text"> · ${failed} failed</span>`}
  </span>`;
}

function FirstSteps() {
  return html`<${Empty} title="No experiments yet" command="tm submit examples/digits/search.yaml">
    An experiment is one search: a training script, a space of hyperparameters and a metric to improve. Submit the one
    that comes along, from the directory you cloned; it appears here at once.
  <//>`;
}

function List({ items, complete, onMore }) {
  if (items.length === 0) return html`<${FirstSteps} />`;
  const numActive = items.filter(({ state }) => state === "ACTIVE").length;
  return html`
    <p class="soft">${formatCount(items.length)}${complete ? "" : "+"} experiments · ${numActive} active</p>
    <${Table} label="Experiments" columns=${COLUMNS} rows=${items} rowKey=${(row) => row.id} />
    ${!complete && html`<p><button type="button" onClick=${onMore}>Load older ones</button></p>`}
  `;
}

export function Experiments() {
  const [count, setCount] = useState(PAGE_ROWS);
  const resource = useResource(
    "experiments",
    (options) => getAll("/experiments", { ...options, cap: count }),
    (event) => !QUIET.has(event.name),
  );
  const onMore = () => {
    setCount(count + PAGE_ROWS);
    resource.refresh();
  };
  return html`
    <h1>Experiments</h1>
    <${Shown} resource=${resource} what="list of experiments">${(data) => html`<${List} ...${data} onMore=${onMore} />`}<//>
  `;
}

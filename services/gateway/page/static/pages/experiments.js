/** The list of experiments, newest first, live: searched, narrowed, gone through by keyboard, changed many at a time. */
import { Action } from "../components/action.js";
import { Filters, parametersOf } from "../components/filters.js";
import { LongTable, sortRows } from "../components/long_table.js";
import { Empty, Shown } from "../components/notice.js";
import { Progress, State } from "../components/state.js";
import { Age } from "../components/time.js";
import { actionOnAll, labelAll, moveAll } from "../experiment_actions.js";
import { useExperiments } from "../experiment_list.js";
import { formatCount, formatValue } from "../format.js";
import { link } from "../router.js";
import { html, useEffect, useMemo, useRef, useState } from "../view.js";

const TYPING_MS = 200;
const FEW_ROWS = 60; // so many matches fill a screen; with fewer, look further back
const MOST_COMPARED = 8;

const finished = ({ trials }) => trials.completed + trials.failed + trials.canceled;

function trialsOf(row) {
  const most = Math.max(row.searcher.max_trials ?? 0, row.trials.total);
  const { failed, running } = row.trials;
  const title = `${row.trials.completed} completed, ${failed} failed, ${row.trials.canceled} canceled, ${running} running, ${row.trials.waiting} waiting`;
  return html`<span title=${title}>
    ${formatCount(finished(row))} / ${formatCount(most)}${failed > 0 && html`<span class="bad-text"> · ${failed} failed</span>`}
  </span>`;
}

const COLUMNS = [
  {
    name: "name",
    title: "Experiment",
    class: "name",
    value: (row) => row.name,
    cell: (row) => html`<a href=${link("experiments", row.id)}>${row.name}</a> <span class="soft mono">${row.id}</span>${row.labels.slice(0, 3).map((label) => html`<span key=${label} class="label wide">${label}</span>`)}`,
  },
  { name: "state", title: "State", value: (row) => row.state, cell: (row) => html`<${State} state=${row.state} />` },
  { name: "progress", title: "Progress", value: (row) => row.progress, cell: (row) => html`<${Progress} value=${row.progress} state=${row.state} label=${`Progress of ${row.name}`} />` },
  {
    name: "best",
    title: "Best",
    class: "number",
    value: (row) => row.best?.metric,
    cell: (row) => html`<span title=${row.searcher.metric}>${formatValue(row.best?.metric)}</span> <span class="soft wide">${row.searcher.metric}</span>`,
  },
  { name: "trials", title: "Trials", class: "number", value: finished, cell: trialsOf },
  { name: "searcher", title: "Search", class: "wide", value: (row) => row.searcher.name, cell: (row) => row.searcher.name },
  { name: "owner", title: "Owner", class: "wide", value: (row) => row.owner, cell: (row) => row.owner },
  { name: "slots", title: "Slots", class: "number wide", value: (row) => row.slots_per_trial * row.trials.running, cell: (row) => html`<span title=${`${row.slots_per_trial} per trial`}>${row.slots_per_trial * row.trials.running || "–"}</span>` },
  { name: "age", title: "Submitted", value: (row) => row.submitted_at, cell: (row) => html`<${Age} at=${row.submitted_at} />` },
];

function FirstSteps() {
  return html`<${Empty} title="No experiments yet" command="tm submit examples/digits/search.yaml">
    An experiment is one search: a training script, a space of hyperparameters and a metric to improve. Submit the one
    that comes along, from the directory you cloned; it appears here at once.
  <//>`;
}

/** What can be done with the chosen ones. */
function Bulk({ experiments, onDone }) {
  const actions = ["pause", "resume", "cancel", "archive", "delete"].map((word) => [word, actionOnAll(experiments, word)]).filter(([, action]) => action);
  const ids = experiments.map(({ id }) => id);
  return html`<div class="bar chosen" role="group" aria-label="What to do with the chosen ones">
    <span>${formatCount(ids.length)} chosen</span>
    ${actions.map(([word, action]) => html`<${Action} key=${word} action=${action} onDone=${onDone} />`)}
    <${Action} action=${labelAll(experiments)} onDone=${onDone} />
    <${Action} action=${moveAll(experiments)} onDone=${onDone} />
    ${ids.length > 1 && ids.length <= MOST_COMPARED && html`<a href=${`#/compare/experiments?ids=${ids.join()}`}>Compare</a>`}
    <button type="button" class="quiet" onClick=${onDone}>Choose none</button>
  </div>`;
}

function List({ rows, isWhole, filters, more, refresh }) {
  const [order, setOrder] = useState({ name: null, isDescending: false });
  const [chosen, setChosen] = useState(new Set());
  const shown = useMemo(() => {
    const column = COLUMNS.find(({ name }) => name === order.name);
    return column ? sortRows(rows, column.value, order.isDescending) : rows;
  }, [rows, order]);
  useEffect(() => {
    if (shown.length < FEW_ROWS) more();
  }, [shown.length, rows.length]);
  const picked = useMemo(() => rows.filter(({ id }) => chosen.has(id)), [rows, chosen]);
  const toggle = ({ id }) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  };
  const done = () => {
    setChosen(new Set());
    refresh();
  };
  if (rows.length === 0 && !Object.values(filters).some(Boolean)) return html`<${FirstSteps} />`;
  const numActive = shown.filter(({ state }) => state === "ACTIVE").length;
  return html`
    <${Filters} filters=${filters} rows=${rows} />
    ${picked.length > 0 ? html`<${Bulk} experiments=${picked} onDone=${done} />` : html`<p class="soft counts">${formatCount(shown.length)}${isWhole ? "" : "+"} ${shown.length === 1 ? "experiment" : "experiments"} · ${numActive} active</p>`}
    ${shown.length === 0 ? html`<p class="notice">${isWhole ? "No experiment is like that." : "Looking further back…"}</p>` : html`<${LongTable} label="Experiments" columns=${COLUMNS} rows=${shown} rowKey=${(row) => row.id}
      rowName=${(row) => row.name} order=${order} onSort=${setOrder} onOpen=${(row) => location.assign(link("experiments", row.id))}
      chosen=${chosen} onToggle=${toggle} onToggleAll=${() => setChosen(new Set(chosen.size >= shown.length ? [] : shown.map(({ id }) => id)))} onEnd=${more} />`}
  `;
}

/** A value that follows another once that has been still for a moment. */
function useSettled(value) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), TYPING_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

export function Experiments({ query }) {
  const filters = useMemo(() => query, [JSON.stringify(query)]);
  const settled = useSettled(filters);
  const resource = useExperiments(useMemo(() => parametersOf(settled), [settled]));
  const shown = useRef(null); // what was found before stays until the next is there: the search keeps its focus
  shown.current = resource.data ?? shown.current;
  return html`
    <h1>Experiments</h1>
    <${Shown} resource=${{ ...resource, data: shown.current }} what="list of experiments">${(data) => html`<${List} ...${data} filters=${filters} more=${resource.more} refresh=${resource.refresh} />`}<//>
  `;
}

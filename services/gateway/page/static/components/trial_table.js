/** The trials of an experiment as a table that sorts by every column, hyperparameters included. */
import { flatten, formatCount, formatValue } from "../format.js";
import { link } from "../router.js";
import { html } from "../view.js";
import { colourOf } from "./chart.js";
import { State } from "./state.js";
import { Table } from "./table.js";
import { Duration } from "./time.js";

/** Names of the hyperparameters that the experiment file fixes: the same in every trial, so no column each. */
function fixedNames(tree, prefix = "") {
  return Object.entries(tree ?? {}).flatMap(([name, spec]) => {
    if (spec === null || typeof spec !== "object" || Array.isArray(spec)) return [prefix + name];
    if (spec.type === "const")
      return [prefix + name, ...flatten(spec.val, `${prefix}${name}.`).map(([inner]) => inner)];
    return typeof spec.type === "string" ? [] : fixedNames(spec, `${prefix}${name}.`);
  });
}

function hyperparameterColumns(trials, fixed) {
  const names = new Set(trials.flatMap((trial) => flatten(trial.hyperparameters).map(([name]) => name)));
  const value = (trial, name) => Object.fromEntries(flatten(trial.hyperparameters))[name];
  return [...names]
    .filter((name) => !fixed.has(name))
    .map((name) => ({
      name: `hyperparameter ${name}`,
      title: name,
      class: "number hyperparameter",
      value: (trial) => value(trial, name),
      cell: (trial) => formatValue(value(trial, name)),
    }));
}

const seconds = ({ started_at: from, ended_at: to }) =>
  from ? (to ? new Date(to) : Date.now()) - new Date(from) : null;

function columnsOf(experiment, trials, fixed) {
  const { metric } = experiment.searcher;
  const isBest = (trial) => trial.id === experiment.best?.trial_id;
  return [
    {
      name: "index",
      title: "Trial",
      value: (trial) => trial.index,
      cell: (
        trial,
      ) => html`<a href=${link("trials", trial.id)}><span class="swatch ${isBest(trial) ? "best" : colourOf(trial.index).slice(2)}"></span>${trial.index}</a>
        ${isBest(trial) && html` <span class="label good">best</span>`}`,
    },
    {
      name: "state",
      title: "State",
      value: (trial) => trial.state,
      cell: (trial) => html`<span title=${trial.reason ?? ""}><${State} state=${trial.state} /></span>`,
    },
    {
      name: "metric",
      title: metric,
      class: "number",
      value: (trial) => trial.metric,
      cell: (trial) =>
        html`<span title=${trial.best_step === null ? "" : `at step ${trial.best_step}`}>${formatValue(trial.metric)}</span>`,
    },
    {
      name: "step",
      title: "Step",
      class: "number",
      value: (trial) => trial.step,
      cell: (trial) => (trial.step === null ? "–" : formatCount(trial.step)),
    },
    ...hyperparameterColumns(trials, fixed),
    {
      name: "duration",
      title: "Duration",
      class: "number",
      value: seconds,
      cell: (trial) => html`<${Duration} from=${trial.started_at} to=${trial.ended_at} />`,
    },
    {
      name: "restarts",
      title: "Restarts",
      class: "number",
      value: (trial) => trial.restarts,
      cell: (trial) => trial.restarts,
    },
    {
      name: "slots",
      title: "Slots",
      class: "number",
      value: (trial) => trial.slots,
      cell: (trial) =>
        html`<span title=${trial.agents?.map(({ agent_id: id, slots }) => `${id}: ${slots.join(", ")}`).join("; ")}>${trial.slots}</span>`,
    },
  ];
}

function Fixed({ trials, fixed }) {
  const pairs = flatten(trials[0].hyperparameters).filter(([name]) => fixed.has(name));
  if (pairs.length === 0) return null;
  return html`<p class="soft">Fixed in all trials: ${pairs.map(([name, value]) => html`<code key=${name}>${name} = ${formatValue(value)}</code> `)}</p>`;
}

export function TrialTable({ experiment, items, complete }) {
  const fixed = new Set(fixedNames(experiment.config?.hyperparameters));
  const isBest = (trial) => trial.id === experiment.best?.trial_id;
  return html`<section aria-labelledby="trials-title">
    <header class="bar"><h2 id="trials-title">Trials</h2>
      ${!complete && html`<span class="soft">the first ${formatCount(items.length)} of ${formatCount(experiment.trials.total)}</span>`}</header>
    ${
      items.length === 0
        ? html`<p class="soft">None requested yet; the searcher asks for the first ones within a moment.</p>`
        : html`<${Fixed} trials=${items} fixed=${fixed} />
          <${Table} label="Trials" columns=${columnsOf(experiment, items, fixed)} rows=${items} rowKey=${(trial) => trial.id}
            rowClass=${(trial) => (isBest(trial) ? "best-row" : "")} />`
    }
  </section>`;
}

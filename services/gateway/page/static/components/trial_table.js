/** The trials of an experiment: any number, sorted by any column, hyperparameters included; chosen ones are compared. */
import { formatCount, formatDuration, formatValue } from "../format.js";
import { link } from "../router.js";
import { html, useMemo, useState } from "../view.js";
import { colourOf } from "./chart.js";
import { LongTable, sortRows } from "./long_table.js";
import { State } from "./state.js";
import { clock, Duration } from "./time.js";

const MOST_COMPARED = 50;
const STATES = ["RUNNING", "WAITING", "PARKED", "STOPPING", "COMPLETED", "FAILED", "CANCELED"];

const hyperparameterColumn = ({ name, values }) => ({
  name: `hyperparameter ${name}`,
  title: name,
  class: "number hyperparameter",
  value: (row) => values[row],
  cell: (row) => formatValue(values[row]),
});

function columnsOf(experiment, trials, dimensions) {
  const { metric, smaller_is_better: isSmaller } = experiment.searcher;
  const best = experiment.best?.trial_id;
  const figure = (name, title) => ({ name, title, class: "number", value: (row) => trials[name][row], cell: (row) => trials[name][row] });
  const duration = (row) => {
    if (trials.isOpen(row) && trials.started_at[row] !== null) return html`<${Duration} from=${trials.started_at[row]} to=${trials.ended_at[row]} />`;
    const seconds = trials.seconds(row, null);
    return seconds === null ? "–" : formatDuration(seconds);
  };
  return [
    {
      name: "index",
      title: "Trial",
      value: (row) => trials.index[row],
      cell: (row) => html`<a href=${link("trials", trials.id(row))}><span class="swatch ${trials.id(row) === best ? "best" : colourOf(trials.index[row]).slice(2)}"></span>${trials.index[row]}</a>
        ${trials.id(row) === best && html` <span class="label good">best</span>`}`,
    },
    { name: "state", title: "State", value: (row) => trials.state[row], cell: (row) => html`<${State} state=${trials.state[row]} />` },
    {
      name: "metric",
      title: metric,
      class: "number",
      isDescendingFirst: !isSmaller,
      value: (row) => trials.metric[row],
      cell: (row) => html`<span title=${trials.best_step[row] === null ? "" : `at step ${trials.best_step[row]}`}>${formatValue(trials.metric[row])}</span>`,
    },
    { ...figure("step", "Step"), cell: (row) => (trials.step[row] === null ? "–" : formatCount(trials.step[row])) },
    ...dimensions.map(hyperparameterColumn),
    { name: "duration", title: "Duration", class: "number", value: (row) => trials.seconds(row, clock()), cell: duration },
    figure("restarts", "Restarts"),
    figure("slots", "Slots"),
  ];
}

function Fixed({ trials, names }) {
  const pairs = names.filter((name) => trials.hyperparameters.has(name)).map((name) => [name, trials.value(name, 0)]);
  if (pairs.length === 0) return null;
  return html`<p class="soft">Fixed in all trials: ${pairs.map(([name, value]) => html`<code key=${name}>${name} = ${formatValue(value)}</code> `)}</p>`;
}

/** `within`: a Set of rows to show, or null for all; `chosen`: the ids of those that are drawn and compared. */
export function TrialTable({ experiment, trials, version, dimensions, fixed, within = null, chosen, onChoose }) {
  const [order, setOrder] = useState({ name: null, isDescending: false });
  const [state, setState] = useState("");
  const columns = useMemo(() => columnsOf(experiment, trials, dimensions), [experiment, trials, dimensions]);
  const rows = useMemo(() => {
    const all = Array.from({ length: trials.count }, (_, row) => row);
    const kept = all.filter((row) => (!within || within.has(row)) && (!state || trials.state[row] === state));
    const column = columns.find(({ name }) => name === order.name);
    return column ? sortRows(kept, column.value, order.isDescending) : kept;
  }, [version, columns, order, state, within]);
  const toggle = (row) => {
    const next = new Set(chosen);
    if (!next.delete(trials.id(row))) next.add(trials.id(row));
    onChoose(next);
  };
  const toggleAll = () => onChoose(new Set(chosen.size >= rows.length ? [] : rows.map((row) => trials.id(row))));
  const present = STATES.filter((each) => trials.state.includes(each));
  const compared = [...chosen].slice(0, MOST_COMPARED);
  return html`<section aria-labelledby="trials-title">
    <header class="bar"><h2 id="trials-title">Trials</h2>
      ${present.length > 1 && html`<label><span class="unseen">State</span><select value=${state} onChange=${(change) => setState(change.target.value)}>
        <option value="">all states</option>${present.map((each) => html`<option key=${each} value=${each}>${each.toLowerCase()}</option>`)}</select></label>`}
      <span class="soft">${formatCount(rows.length)}${rows.length < trials.count ? ` of ${formatCount(trials.count)}` : ""}</span>
      ${chosen.size > 0 && html`<span>${formatCount(chosen.size)} chosen</span>
        ${chosen.size > 1 && html`<a class="button" href=${`#/compare/trials?ids=${compared.join()}`}>Compare${chosen.size > MOST_COMPARED ? ` the first ${MOST_COMPARED}` : ""}</a>`}
        <button type="button" class="quiet" onClick=${() => onChoose(new Set())}>Choose none</button>`}</header>
    ${
      trials.count === 0
        ? html`<p class="soft">None requested yet; the searcher asks for the first ones within a moment.</p>`
        : html`<${Fixed} trials=${trials} names=${fixed} />
          <${LongTable} label="Trials" columns=${columns} rows=${rows} rowKey=${(row) => trials.id(row)} rowName=${(row) => `trial ${trials.index[row]}`}
            rowClass=${(row) => (trials.id(row) === experiment.best?.trial_id ? "best-row" : "")} order=${order} onSort=${setOrder}
            onOpen=${(row) => location.assign(link("trials", trials.id(row)))} chosen=${chosen} onToggle=${toggle} onToggleAll=${toggleAll} />`
    }
  </section>`;
}

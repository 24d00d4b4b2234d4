/** What the search learned about the space: importance, parallel coordinates, a scatter for each hyperparameter. */
import { formatCount } from "../format.js";
import { importance } from "../importance.js";
import { link } from "../router.js";
import { isLadder } from "../spaces.js";
import { html, useMemo, useState } from "../view.js";
import { Importance } from "./importance.js";
import { axesOf, brushed, Parallel } from "./parallel.js";
import { Scatter } from "./scatter.js";
import { TrialTable } from "./trial_table.js";

const MOST_DRAWN = 1500;

/** The trials with a validation, worst first, so that the best are drawn on top. */
function validated(experiment, trials) {
  const sign = experiment.searcher.smaller_is_better ? -1 : 1;
  const rows = Array.from({ length: trials.count }, (_, row) => row);
  return rows.filter((row) => trials.metric[row] !== null && trials.state[row] !== "FAILED").sort((a, b) => sign * (trials.metric[a] - trials.metric[b]));
}

/** Of very many, an even choice that has the best in it. */
function thinned(rows) {
  if (rows.length <= MOST_DRAWN) return rows;
  return Array.from({ length: MOST_DRAWN }, (_, number) => rows[Math.round((number * (rows.length - 1)) / (MOST_DRAWN - 1))]);
}

export function Hyperparameters({ experiment, trials, version, dimensions, fixed, chosen, onChoose }) {
  const [brushes, setBrushes] = useState({});
  const { metric } = experiment.searcher;
  const known = useMemo(() => validated(experiment, trials), [version]);
  const rows = useMemo(() => thinned(known), [known]);
  const ranking = useMemo(() => new Map(rows.map((row, place) => [row, rows.length < 2 ? 1 : place / (rows.length - 1)])), [rows]);
  const found = useMemo(() => importance(dimensions, trials.metric, known), [known, dimensions]);
  const axes = useMemo(() => axesOf(dimensions, trials, known, metric), [dimensions, known]);
  const kept = useMemo(() => new Set(brushed(axes, known, brushes)), [axes, known, brushes]);
  const isLit = useMemo(() => (row) => kept.has(row), [kept]);
  const lit = useMemo(() => new Set(rows.filter(isLit)), [rows, isLit]);
  const onBrush = (name, range) => setBrushes(Object.fromEntries(Object.entries({ ...brushes, [name]: range }).filter(([, value]) => value)));
  const onOpen = (row) => location.assign(link("trials", trials.id(row)));
  if (known.length === 0) return html`<p class="notice">No trial has a validation yet; the pictures of the space begin with the first. In the training script: <code>trial.report_validation(step, ${metric}=…)</code>.</p>`;
  if (dimensions.length === 0) return html`<p class="notice">Nothing varies in this experiment: every hyperparameter is fixed.</p>`;
  const byShare = found ? [...dimensions].sort((a, b) => found.shares.findIndex(({ name }) => name === a.name) - found.shares.findIndex(({ name }) => name === b.name)) : dimensions;
  const isBrushed = Object.keys(brushes).length > 0;
  return html`
    <section aria-labelledby="parallel-title">
      <header class="bar"><h2 id="parallel-title">Parallel coordinates</h2>
        <span class="scale-key soft">worst <span class="ramp" aria-hidden="true"></span> best ${metric}</span>
        ${rows.length < known.length && html`<span class="soft">an even choice of ${formatCount(rows.length)} of ${formatCount(known.length)} trials</span>`}</header>
      <${Parallel} axes=${axes} rows=${rows} lit=${lit} ranking=${ranking} trials=${trials} brushes=${brushes} onBrush=${onBrush} onOpen=${onOpen} />
    </section>
    <div class="columns">
      <${Importance} found=${found} metric=${metric} isLadder=${isLadder(experiment)} />
      <section aria-labelledby="scatter-title"><h2 id="scatter-title">${metric} against each</h2>
        <div class="charts scatters">${byShare.map((dimension) => html`<${Scatter} key=${dimension.name} dimension=${dimension} trials=${trials} rows=${rows} ranking=${ranking} metric=${metric} isLit=${isLit} onOpen=${onOpen} />`)}</div></section>
    </div>
    <${TrialTable} experiment=${experiment} trials=${trials} version=${version} dimensions=${dimensions} fixed=${fixed} within=${isBrushed ? kept : null} chosen=${chosen} onChoose=${onChoose} />
  `;
}

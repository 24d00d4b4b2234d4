/** Trials, or experiments, side by side: their curves on the same axes, and in what they differ. */
import { get, to } from "../api.js";
import { colourOf } from "../components/chart.js";
import { CompareTable, rowsOf } from "../components/compare_table.js";
import { Shown } from "../components/notice.js";
import { Overlay } from "../components/overlay.js";
import { State } from "../components/state.js";
import { Duration } from "../components/time.js";
import { flatten, formatValue } from "../format.js";
import { touchesExperiment } from "../live.js";
import { useResource } from "../resource.js";
import { link } from "../router.js";
import { html, useEffect, useMemo } from "../view.js";

const MOST = 50;

const numberOf = (trialId) => trialId.split("-").at(-1);
const colour = (place) => colourOf(place + 1);

function Heading({ href, place, text }) {
  return html`<span class="swatch ${colour(place).slice(2)}"></span><a href=${href}>${text}</a>`;
}

/** Facts of everything compared, as rows. */
const facts = (items, list) => list.map(([name, value, cell]) => ({ name, values: items.map(value), shown: items.map(cell ?? ((item) => formatValue(value(item)))) }));

const TRIAL_FACTS = [
  ["state", ({ state }) => state, ({ state }) => html`<${State} state=${state} />`],
  ["best metric", ({ metric }) => metric],
  ["at step", ({ best_step: step }) => step],
  ["steps", ({ step }) => step],
  ["took", ({ started_at: from, ended_at: end }) => `${from} ${end}`, ({ started_at: from, ended_at: end }) => html`<${Duration} from=${from} to=${end} />`],
  ["restarts", ({ restarts }) => restarts],
  ["slots", ({ slots }) => slots],
  ["seed", ({ seed }) => seed],
];

function Trials({ items }) {
  const experiments = new Set(items.map(({ experiment_id: id }) => id));
  const nameOf = ({ id }) => (experiments.size > 1 ? id : `trial ${numberOf(id)}`);
  const subjects = items.map((trial, place) => ({ key: trial.id, title: html`<${Heading} href=${link("trials", trial.id)} place=${place} text=${nameOf(trial)} />` }));
  const drawn = useMemo(() => items.map((trial, place) => ({ id: trial.id, label: nameOf(trial), colour: colour(place) })), [items.map(({ id }) => id).join()]);
  return html`
    <${Overlay} subjects=${drawn} />
    <${CompareTable} label="Hyperparameters" subjects=${subjects} rows=${rowsOf(items.map(({ hyperparameters }) => hyperparameters), flatten)} />
    <${CompareTable} label="How they went" subjects=${subjects} rows=${facts(items, TRIAL_FACTS)} />
  `;
}

const EXPERIMENT_FACTS = [
  ["state", ({ state }) => state, ({ state }) => html`<${State} state=${state} />`],
  ["best metric", ({ best }) => best?.metric],
  ["best trial", ({ best }) => best?.trial_id, ({ best }) => (best ? html`<a href=${link("trials", best.trial_id)}>trial ${numberOf(best.trial_id)}</a>` : "–")],
  ["trials completed", ({ trials }) => trials.completed],
  ["trials failed", ({ trials }) => trials.failed],
  ["took", ({ submitted_at: from, ended_at: end }) => `${from} ${end}`, ({ submitted_at: from, ended_at: end }) => html`<${Duration} from=${from} to=${end} />`],
];

function Experiments({ items }) {
  const subjects = items.map((each, place) => ({ key: each.id, title: html`<${Heading} href=${link("experiments", each.id)} place=${place} text=${`${each.name} ${each.id}`} />` }));
  const best = items.map(({ best: each }) => each?.trial_id ?? null);
  const drawn = useMemo(() => items.flatMap((each, place) => (best[place] ? [{ id: best[place], label: `best of ${each.name} ${each.id}`, colour: colour(place) }] : [])), [best.join()]);
  return html`
    ${drawn.length > 0 && html`<${Overlay} subjects=${drawn} />`}
    <${CompareTable} label="How they went" subjects=${subjects} rows=${facts(items, EXPERIMENT_FACTS)} />
    <${CompareTable} label="Configuration" subjects=${subjects} rows=${rowsOf(items.map(({ config }) => config), flatten)} />
  `;
}

const KINDS = {
  trials: { view: Trials, touches: (event, id) => event.event?.trial_id === id },
  experiments: { view: Experiments, touches: touchesExperiment },
};

export function Compare({ kind, ids: text }) {
  const ids = (text ?? "").split(",").filter(Boolean).slice(0, MOST);
  const { view, touches } = KINDS[kind] ?? KINDS.trials;
  useEffect(() => {
    document.title = `Compare ${kind} · Trainmaster`;
  }, [kind]);
  const resource = useResource(
    ids.length > 0 ? `${kind} ${ids.join()}` : null,
    (options) => Promise.all(ids.map((id) => get(to`/${kind}/${id}`, options))),
    (event) => ids.some((id) => touches(event, id)),
  );
  return html`
    <p class="crumbs"><a href="#/">Experiments</a></p>
    <h1>Compare ${ids.length} ${kind}</h1>
    ${ids.length === 0 ? html`<p class="notice">Nothing is chosen: tick rows in a table of trials or of experiments, then “Compare”.</p>` : html`<${Shown} resource=${resource} what=${kind}>${(items) => html`<${view} items=${items} />`}<//>`}
  `;
}

/** The live chart of an experiment: one metric of its trials against step or time, the best trial on top. */
import { get, to } from "../api.js";
import { againstTime, smooth } from "../curves.js";
import { formatCount, formatValue } from "../format.js";
import { touchesExperiment } from "../live.js";
import { useExperimentNames } from "../metric_names.js";
import { moment } from "../moment.js";
import { useResource } from "../resource.js";
import { link } from "../router.js";
import { html, useMemo, useState } from "../view.js";
import { cutAt } from "../trial_metrics.js";
import { Chart, colourOf } from "./chart.js";
import { ChartSettings, SETTINGS } from "./chart_settings.js";

const MOST_LINES = 200;
const FEW_LINES = 12; // of an experiment with more trials than can be read at once
const POINTS = 400;
const CHANGING = new Set(["MetricReported", "TrialClosed", "TrialExited", "ExperimentCompleted"]);
const NAMING = new Set(["TrialExited", "TrialClosed"]); // what a trial reports, it reports again and again

export const indexOf = (trialId) => Number(trialId.split("-").at(-1));

/** The metrics there are to choose from, by group; the search's own first. */
function useChoices(experiment) {
  const hasBest = experiment.best !== null; // the first validation is worth asking again for
  const names = useExperimentNames(experiment.id, (event) => touchesExperiment(event, experiment.id) && (NAMING.has(event.name) || (!hasBest && CHANGING.has(event.name))));
  const own = `validation ${experiment.searcher.metric}`;
  return [own, ...(names ?? []).map(({ group, name }) => `${group} ${name}`).filter((name) => name !== own)];
}

/** The best of the trials and those that run, best first; at most `count`. */
export function leading(experiment, trials, count) {
  const sign = experiment.searcher.smaller_is_better ? 1 : -1;
  const rows = Array.from({ length: trials.count }, (_, row) => row);
  const known = rows.filter((row) => trials.metric[row] !== null && trials.state[row] !== "FAILED");
  const best = known.sort((a, b) => sign * (trials.metric[a] - trials.metric[b]));
  return best.slice(0, count).map((row) => trials.id(row));
}

/** Which trials are drawn: those chosen in the table; else all, or of very many the leading ones. null: all. */
function drawn(experiment, trials, chosen, which) {
  if (which === "chosen" && chosen.size > 0) return [...chosen];
  if (which === "leading" || trials.count > MOST_LINES) return leading(experiment, trials, FEW_LINES);
  return null;
}

/** The series of all trials in one read, or of some in one read each. */
function useSeries(experiment, ids, group, name, isTimed) {
  const path = to`/experiments/${experiment.id}/metrics`;
  const one = (id) => to`/trials/${id}/`;
  const parameters = { group, name, max_points: POINTS };
  return useResource(
    `${experiment.id} ${group} ${name} ${ids?.join() ?? "all"} ${isTimed}`,
    async (options) => {
      const read = (place) => get(place, { ...options, parameters }).then(({ series }) => series);
      const when = (place) => (isTimed ? get(place, options).then(({ items }) => items) : []);
      const [series, times] = await Promise.all([
        ids ? Promise.all(ids.map((id) => read(`${one(id)}metrics`))) : read(path),
        ids ? Promise.all(ids.map((id) => when(`${one(id)}times`))) : when(to`/experiments/${experiment.id}/times`),
      ]);
      return { series: series.flat(), times: new Map(times.flat().map(({ trial_id: id, points }) => [id, points])) };
    },
    (event) => CHANGING.has(event.name) && touchesExperiment(event, experiment.id),
  );
}

/** Lines for the chart: at most MOST_LINES, the newest trials and always the best, which comes last. */
function linesOf({ series, times }, bestId, { weight, isTimed }) {
  const shaped = series.map((each) => ({
    ...each,
    points: smooth(isTimed ? againstTime(each.points, times.get(each.trial_id)) : each.points, weight),
  }));
  const withPoints = shaped.filter(({ points }) => points.length > 0);
  const others = withPoints.filter(({ trial_id: id }) => id !== bestId).slice(-MOST_LINES);
  const best = withPoints.filter(({ trial_id: id }) => id === bestId);
  return [...others, ...best].map(({ trial_id: id, points }) => ({
    key: id,
    label: `trial ${indexOf(id)}${id === bestId ? " (best)" : ""}`,
    points,
    colour: id === bestId ? "--best" : colourOf(indexOf(id)),
    isStrong: id === bestId,
    isFaint: id !== bestId,
  }));
}

function describe(lines, metric, best, isTimed) {
  const top = best ? `; best ${formatValue(best.metric)} by trial ${indexOf(best.trial_id)}` : "";
  return `${metric} against the ${isTimed ? "time" : "step"}, ${lines.length} trials${top}. The same figures are in the table of trials.`;
}

/** On a page of the past: what the trials that there were had reported when they stood where they stood. */
function asItWas(data, trials) {
  if (moment === null || !data || !trials) return data;
  const steps = new Map(data.series.map(({ trial_id: id }) => [id, trials.step[trials.row(id)] ?? null]));
  return { ...data, series: data.series.flatMap((each) => cutAt([each], steps.get(each.trial_id))) };
}

const NOTHING = { series: [], times: new Map() };

export function MetricChart({ experiment, trials, chosen }) {
  const choices = useChoices(experiment);
  const [metric, setMetric] = useState(null);
  const [which, setWhich] = useState("all");
  const [settings, setSettings] = useState(SETTINGS);
  const choice = choices.includes(metric) ? metric : choices[0];
  const group = choice.slice(0, choice.indexOf(" "));
  const isTimed = settings.axis === "time";
  const ids = trials ? drawn(experiment, trials, chosen, which === "all" && chosen.size > 0 ? "chosen" : which) : null;
  const { data, error } = useSeries(experiment, ids, group, choice.slice(group.length + 1), isTimed);
  const bestId = experiment.best?.trial_id;
  const weight = Number(settings.weight);
  const lines = useMemo(() => linesOf(asItWas(data, trials) ?? NOTHING, bestId, { weight, isTimed }), [data, bestId, weight, isTimed, moment === null ? null : trials]);
  const canLog = lines.every(({ points }) => points.every(([, value]) => value > 0));
  const isSilent = data !== null && lines.length === 0 && experiment.ended_at !== null;
  const onPick = useMemo(() => (line) => location.assign(link("trials", line.key)), []);
  const total = trials?.count ?? 0;
  return html`<section aria-labelledby="chart-title">
    <header class="bar">
      <h2 id="chart-title">Metric</h2>
      <label><span class="unseen">Metric to draw</span><select value=${choice} onChange=${(change) => setMetric(change.target.value)}>
        ${choices.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
      </select></label>
      <label>of <select value=${which} onChange=${(change) => setWhich(change.target.value)}>
        <option value="all">${chosen.size > 0 ? `the ${chosen.size} chosen trials` : total > MOST_LINES ? `the best ${FEW_LINES} trials` : "all trials"}</option>
        ${total > FEW_LINES && (chosen.size > 0 || total <= MOST_LINES) && html`<option value="leading">the best ${FEW_LINES} trials</option>`}
      </select></label>
      <${ChartSettings} value=${settings} canLog=${canLog} onChange=${setSettings} />
      ${total > MOST_LINES && chosen.size === 0 && html`<span class="soft">of ${formatCount(total)}; choose others in the table</span>`}
    </header>
    ${error && html`<p class="soft" role="note">The chart could not be read: ${error.message}</p>`}
    <div class="plot-frame">
      <${Chart} label=${describe(lines, choice, experiment.best, isTimed)} lines=${lines} height=${isSilent ? 90 : 320} isLog=${settings.isLog && canLog} axisOf=${settings.axis} onPick=${onPick}
        idle=${lines.length ? "Point at a line to read it, click to open its trial, drag to zoom, double-click to zoom out." : " "} />
      ${data && lines.length === 0 && html`<p class="soft overlay">
        ${isSilent ? `No trial reported ${choice}.` : `No ${choice} yet: it appears with the first report.`}
      </p>`}
    </div>
    ${isTimed && group !== "validation" && html`<p class="soft small">Times between two validations are interpolated.</p>`}
  </section>`;
}

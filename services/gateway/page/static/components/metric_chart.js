/** The live chart of an experiment: one metric of all its trials against the step, the best one on top. */
import { to } from "../api.js";
import { formatValue } from "../format.js";
import { touchesExperiment } from "../live.js";
import { usePath } from "../resource.js";
import { link } from "../router.js";
import { html, useMemo, useState } from "../view.js";
import { Chart, colourOf } from "./chart.js";
import { useTrialMetrics } from "./trial_charts.js";

const MOST_LINES = 200;
const FEWEST_POINTS = 2; // only the names are wanted
const CHANGING = new Set(["MetricReported", "TrialClosed", "TrialExited", "ExperimentCompleted"]);

const indexOf = (trialId) => Number(trialId.split("-").at(-1));

/** The metrics there are to choose from: those of one trial that has reported, plus the search's own. */
function useChoices(experiment, trials) {
  const witness = experiment.best?.trial_id ?? trials.find((trial) => trial.step !== null)?.id ?? null;
  const { data } = useTrialMetrics(witness, FEWEST_POINTS, CHANGING);
  const own = `validation ${experiment.searcher.metric}`;
  const names = (data ?? []).filter(({ points }) => points.length > 0).map(({ group, name }) => `${group} ${name}`);
  return [
    own,
    ...[...new Set(names)]
      .filter((name) => name !== own)
      .sort()
      .reverse(),
  ];
}

/** Lines for the chart: at most MOST_LINES, the newest trials and always the best, which comes last. */
function linesOf(series, bestId) {
  const withPoints = series.filter(({ points }) => points.length > 0);
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

function describe(lines, metric, best) {
  const top = best ? `; best ${formatValue(best.metric)} by trial ${indexOf(best.trial_id)}` : "";
  return `${metric} against the step, ${lines.length} trials${top}. The same figures are in the table of trials.`;
}

export function MetricChart({ experiment, trials }) {
  const choices = useChoices(experiment, trials);
  const [chosen, setChosen] = useState(null);
  const [isLog, setLog] = useState(false);
  const choice = choices.includes(chosen) ? chosen : choices[0];
  const group = choice.slice(0, choice.indexOf(" "));
  const name = choice.slice(group.length + 1);
  const path = to`/experiments/${experiment.id}/metrics?name=${name}&group=${group}`;
  const { data, error } = usePath(path, (event) => CHANGING.has(event.name) && touchesExperiment(event, experiment.id));
  const bestId = experiment.best?.trial_id;
  const lines = useMemo(() => linesOf(data?.series ?? [], bestId), [data, bestId]);
  const numDrawable = (data?.series ?? []).filter(({ points }) => points.length > 0).length;
  const canLog = lines.every(({ points }) => points.every(([, value]) => value > 0));
  const isSilent = data !== null && lines.length === 0 && experiment.ended_at !== null;
  const onPick = useMemo(() => (line) => location.assign(link("trials", line.key)), []);
  return html`<section aria-labelledby="chart-title">
    <header class="bar">
      <h2 id="chart-title">Metric</h2>
      <label><span class="unseen">Metric to draw</span><select value=${choice} onChange=${(change) => setChosen(change.target.value)}>
        ${choices.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
      </select></label>
      <label><input type="checkbox" checked=${isLog} disabled=${!canLog} onChange=${() => setLog(!isLog)} /> log scale</label>
      ${numDrawable > lines.length && html`<span class="soft">${lines.length} of ${numDrawable} trials are drawn: the newest and the best</span>`}
    </header>
    ${error && html`<p class="soft" role="note">The chart could not be read: ${error.message}</p>`}
    <div class="plot-frame">
      <${Chart} label=${describe(lines, choice, experiment.best)} lines=${lines} height=${isSilent ? 90 : 320} isLog=${isLog && canLog} onPick=${onPick}
        idle=${lines.length ? "Point at a line to read it, click to open its trial, drag to zoom, double-click to zoom out." : " "} />
      ${data && lines.length === 0 && html`<p class="soft overlay">
        ${isSilent ? `No trial reported ${choice}.` : `No ${choice} yet: it appears with the first report.`}
      </p>`}
    </div>
  </section>`;
}

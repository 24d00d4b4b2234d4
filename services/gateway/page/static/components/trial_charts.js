/** The charts of a trial: one per metric, what training reported and what validation found on the same axes. */
import { get, to } from "../api.js";
import { againstTime, smooth } from "../curves.js";
import { usePath, useResource } from "../resource.js";
import { html, useMemo, useState } from "../view.js";
import { Chart } from "./chart.js";
import { ChartSettings, SETTINGS } from "./chart_settings.js";

const MOST_POINTS = 1000;
const MOST_CHARTS = 24;
const GROUPS = ["validation", "training"];
const HARDWARE = ["system", "profiling"];
const COLOURS = { training: "--line-0", validation: "--best", system: "--line-3", profiling: "--line-1" };
const CHANGING = new Set(["MetricReported", "TrialExited", "TrialPreempted", "TrialClosed"]);

/** All series of a trial in these groups; read again at those of its events that are named in `changing`. */
export function useTrialMetrics(id, maxPoints, changing, groups = GROUPS) {
  return useResource(
    id && `${id} ${maxPoints} ${groups.join()}`,
    async (options) => {
      const read = (group) =>
        get(to`/trials/${id}/metrics`, { ...options, parameters: { group, max_points: maxPoints } });
      return (await Promise.all(groups.map(read))).flatMap(({ series }) => series);
    },
    (event) => changing.has(event.name) && event.event.trial_id === id,
  );
}

/** Series of one name belong together, whichever group reported them; validated ones come first. */
function groupByName(series) {
  const groups = new Map();
  for (const each of series.filter(({ points }) => points.length > 0))
    groups.set(each.name, [...(groups.get(each.name) ?? []), each]);
  const isValidated = ([, members]) => members.some(({ group }) => group === "validation");
  return [...groups].sort((a, b) => isValidated(b) - isValidated(a) || a[0].localeCompare(b[0]));
}

function MetricOfTrial({ name, members, settings = SETTINGS, knots = null }) {
  const weight = Number(settings.weight);
  const isTimed = settings.axis === "time";
  const canLog = members.every(({ points }) => points.every(([, value]) => value > 0));
  const lines = useMemo(
    () =>
      members.map(({ group, points }) => ({
        key: group,
        label: `${group} ${name}`,
        points: smooth(isTimed ? againstTime(points, knots) : points, weight),
        colour: COLOURS[group] ?? "--line-2",
        isStrong: group === "validation",
      })),
    [members, weight, isTimed, knots],
  );
  return html`<div class="small-chart">
    <h3>${name.endsWith("_bytes") ? name.slice(0, -6) : name} ${members.map(({ group }) => html`<span key=${group} class="legend ${group}">${group}</span>`)}</h3>
    <${Chart} label=${`${name} of this trial against the step: ${members.map(({ group }) => group).join(" and ")}`} lines=${lines} height=${200} isLog=${settings.isLog && canLog} axisOf=${settings.axis} isBytes=${name.endsWith("_bytes")} idle=" " />
  </div>`;
}

export function TrialCharts({ trial }) {
  const { data, error } = useTrialMetrics(trial.id, MOST_POINTS, CHANGING);
  const [settings, setSettings] = useState(SETTINGS);
  const times = usePath(settings.axis === "time" ? to`/trials/${trial.id}/times` : null, (event) => CHANGING.has(event.name) && event.event.trial_id === trial.id);
  const groups = useMemo(() => groupByName(data ?? []), [data]);
  const knots = times.data?.items[0]?.points ?? null;
  return html`<section aria-labelledby="metrics-title">
    <header class="bar"><h2 id="metrics-title">Metrics</h2>${groups.length > 0 && html`<${ChartSettings} value=${settings} canLog=${true} onChange=${setSettings} />`}</header>
    ${error && html`<p class="soft" role="note">The metrics could not be read: ${error.message}</p>`}
    ${data && groups.length === 0 && html`<p class="soft">
      Nothing reported. In the training script: <code>trial.report(step, loss=loss)</code> and${" "}
      <code>trial.report_validation(step, accuracy=accuracy)</code>.
    </p>`}
    <div class="charts">${groups.slice(0, MOST_CHARTS).map(([name, members]) => html`<${MetricOfTrial} key=${name} name=${name} members=${members} settings=${settings} knots=${knots} />`)}</div>
    ${groups.length > MOST_CHARTS && html`<p class="soft">${groups.length - MOST_CHARTS} more metrics are not drawn.</p>`}
  </section>`;
}

/** What the machine did meanwhile: processors, memory, GPUs, as the agent measured them. */
export function Hardware({ trial }) {
  const { data, error } = useTrialMetrics(trial.id, MOST_POINTS, CHANGING, HARDWARE);
  const groups = useMemo(() => groupByName(data ?? []), [data]);
  return html`<section aria-labelledby="hardware-title">
    <h2 id="hardware-title">Hardware</h2>
    ${error && html`<p class="soft" role="note">The telemetry could not be read: ${error.message}</p>`}
    ${data && groups.length === 0 && html`<p class="soft">Nothing measured: the agent looks for the first time a few seconds after a trial starts.</p>`}
    <div class="charts">${groups.slice(0, MOST_CHARTS).map(([name, members]) => html`<${MetricOfTrial} key=${name} name=${name} members=${members} />`)}</div>
  </section>`;
}

/** The charts of a trial: one per metric, what training reported and what validation found on the same axes. */
import { to } from "../api.js";
import { againstTime, smooth } from "../curves.js";
import { formatCount } from "../format.js";
import { CHANGING, colourOfGroup, isHardware, orderOf } from "../metric_names.js";
import { moment } from "../moment.js";
import { usePath } from "../resource.js";
import { cutAt } from "../trial_metrics.js";
import { html, useMemo, useState } from "../view.js";
import { Chart } from "./chart.js";
import { ChartSettings, SETTINGS } from "./chart_settings.js";

const MOST_CHARTS = 24;

/** Series of one name belong together, whichever group reported them; validated ones come first. */
function groupByName(series) {
  const groups = new Map();
  for (const each of series.filter(({ points }) => points.length > 0))
    groups.set(each.name, [...(groups.get(each.name) ?? []), each]);
  const first = ([, members]) => Math.min(...members.map(({ group }) => orderOf(group)));
  return [...groups].sort((a, b) => first(a) - first(b) || a[0].localeCompare(b[0]));
}

/** Those of the series for which `isWanted(group)`; on a page of the past, up to where the trial was. */
function useCharts(metrics, trial, isWanted) {
  const { data } = metrics;
  return useMemo(() => {
    const wanted = (data ?? []).filter(({ group }) => isWanted(group));
    return groupByName(moment === null ? wanted : cutAt(wanted, trial.step));
  }, [data, trial.step]);
}

function MetricOfTrial({ name, members, settings = SETTINGS, knots = null }) {
  const weight = Number(settings.weight);
  const isTimed = settings.axis === "time";
  const canLog = members.every(({ points }) => points.every(([, value]) => value > 0));
  const last = Math.max(...members.map(({ points }) => points.at(-1)[0]));
  const lines = useMemo(
    () =>
      members.map(({ group, points }) => ({
        key: group,
        label: `${group} ${name}`,
        points: smooth(isTimed ? againstTime(points, knots) : points, weight),
        colour: colourOfGroup(group),
        isStrong: group === "validation",
      })),
    [members, weight, isTimed, knots],
  );
  return html`<div class="small-chart">
    <h3>${name.endsWith("_bytes") ? name.slice(0, -6) : name} ${members.map(({ group }) => html`<span key=${group} class="legend ${colourOfGroup(group).slice(2)}">${group}</span>`)}</h3>
    <${Chart} label=${`${name} of this trial up to step ${formatCount(last)}: ${members.map(({ group }) => group).join(" and ")}`} lines=${lines} height=${200} isLog=${settings.isLog && canLog} axisOf=${settings.axis} isBytes=${name.endsWith("_bytes")} idle=" " />
  </div>`;
}

/** What the training script reported; `metrics` is the resource of the trial's series. */
export function TrialCharts({ trial, metrics }) {
  const [settings, setSettings] = useState(SETTINGS);
  const times = usePath(settings.axis === "time" ? to`/trials/${trial.id}/times` : null, (event) => CHANGING.has(event.name) && event.event.trial_id === trial.id);
  const charts = useCharts(metrics, trial, (group) => !isHardware(group));
  const { data, error } = metrics;
  const knots = times.data?.items[0]?.points ?? null;
  return html`<section aria-labelledby="metrics-title">
    <header class="bar"><h2 id="metrics-title">Metrics</h2>${charts.length > 0 && html`<${ChartSettings} value=${settings} canLog=${true} onChange=${setSettings} />`}</header>
    ${error && html`<p class="soft" role="note">The metrics could not be read: ${error.message}</p>`}
    ${data && charts.length === 0 && html`<p class="soft">
      Nothing reported. In the training script: <code>trial.report(step, loss=loss)</code> and${" "}
      <code>trial.report_validation(step, accuracy=accuracy)</code>.
    </p>`}
    <div class="charts">${charts.slice(0, MOST_CHARTS).map(([name, members]) => html`<${MetricOfTrial} key=${name} name=${name} members=${members} settings=${settings} knots=${knots} />`)}</div>
    ${charts.length > MOST_CHARTS && html`<p class="soft">${charts.length - MOST_CHARTS} more metrics are not drawn.</p>`}
  </section>`;
}

/** What the machine did meanwhile: processors, memory, GPUs, as the agent measured them. */
export function Hardware({ trial, metrics }) {
  const charts = useCharts(metrics, trial, isHardware);
  return html`<section aria-labelledby="hardware-title">
    <h2 id="hardware-title">Hardware</h2>
    ${metrics.data && charts.length === 0 && html`<p class="soft">Nothing measured: the agent looks for the first time a few seconds after a trial starts.</p>`}
    <div class="charts">${charts.slice(0, MOST_CHARTS).map(([name, members]) => html`<${MetricOfTrial} key=${name} name=${name} members=${members} />`)}</div>
  </section>`;
}

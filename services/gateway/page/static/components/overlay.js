/** Metrics of several trials on the same axes, one small chart a metric. */
import { get, to } from "../api.js";
import { againstTime, smooth } from "../curves.js";
import { CHANGING, isHardware, orderOf, readTrialSeries } from "../metric_names.js";
import { useResource } from "../resource.js";
import { html, useMemo, useState } from "../view.js";
import { Chart } from "./chart.js";
import { ChartSettings, SETTINGS } from "./chart_settings.js";

const POINTS = 500;
const MOST_CHARTS = 12;

function useMetrics(ids) {
  const wanted = new Set(ids);
  return useResource(
    ids.length > 0 ? `compare ${ids.join()}` : null,
    async (options) => {
      const read = async (id) => {
        const [times, series] = await Promise.all([get(to`/trials/${id}/times`, options), readTrialSeries(id, POINTS, (group) => !isHardware(group), options)]);
        return { series, knots: times.items[0]?.points ?? [] };
      };
      return new Map(await Promise.all(ids.map(async (id) => [id, await read(id)])));
    },
    (event) => CHANGING.has(event.name) && wanted.has(event.event.trial_id),
  );
}

/** "group name" -> [{id, points, knots}], those that most trials have first. */
function byMetric(data) {
  const found = new Map();
  for (const [id, { series, knots }] of data ?? [])
    for (const { group, name, points } of series.filter((each) => each.points.length > 0)) {
      const key = `${group} ${name}`;
      found.set(key, [...(found.get(key) ?? []), { id, group, points, knots }]);
    }
  return [...found].sort(([a, of], [b, or]) => or.length - of.length || orderOf(of[0].group) - orderOf(or[0].group) || a.localeCompare(b));
}

/** subjects: [{id, label, colour}] of trials. */
export function Overlay({ subjects }) {
  const [settings, setSettings] = useState(SETTINGS);
  const { data, error } = useMetrics(subjects.map(({ id }) => id));
  const metrics = useMemo(() => byMetric(data), [data]);
  const isTimed = settings.axis === "time";
  const charts = useMemo(() => metrics.slice(0, MOST_CHARTS).map(([name, members]) => ({
    name,
    lines: members.map(({ id, points, knots }) => {
      const { label, colour } = subjects.find((each) => each.id === id);
      return { key: id, label, colour, points: smooth(isTimed ? againstTime(points, knots) : points, Number(settings.weight)) };
    }),
  })), [metrics, isTimed, settings.weight, subjects]);
  const canLog = (lines) => lines.every(({ points }) => points.every(([, value]) => value > 0));
  return html`<section aria-labelledby="overlay-title">
    <header class="bar"><h2 id="overlay-title">Metrics</h2><${ChartSettings} value=${settings} canLog=${true} onChange=${setSettings} />
      <span class="keys-of">${subjects.map(({ id, label, colour }) => html`<span key=${id}><span class="swatch ${colour.slice(2)}"></span>${label}</span>`)}</span></header>
    ${error && html`<p class="soft" role="note">The metrics could not be read: ${error.message}</p>`}
    ${data && charts.length === 0 && html`<p class="soft">None of them reported anything.</p>`}
    <div class="charts">${charts.map(({ name, lines }) => html`<div key=${name} class="small-chart"><h3>${name}</h3>
      <${Chart} label=${`${name} of ${lines.length} trials`} lines=${lines} height=${220} isLog=${settings.isLog && canLog(lines)} axisOf=${settings.axis} idle=" " /></div>`)}</div>
  </section>`;
}

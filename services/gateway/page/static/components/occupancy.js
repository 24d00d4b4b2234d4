/** How many slots were held over the last hours, a line a pool. */
import { usePath } from "../resource.js";
import { html, useMemo, useState } from "../view.js";
import { Chart, colourOf } from "./chart.js";

const SPANS = { 3600: "hour", 21600: "6 hours", 86400: "day", 604800: "week" };
const CHANGING = new Set(["GPUAllocated", "GPUReleased"]);

export function Occupancy() {
  const [seconds, setSeconds] = useState("3600");
  const { data, error } = usePath(`/usage/occupancy?stretches=240&seconds=${seconds}`, (event) => CHANGING.has(event.name));
  const lines = useMemo(() => {
    if (data === null) return [];
    const start = Date.parse(data.since) / 1000;
    return data.pools.map(({ pool, held }, place) => ({
      key: pool,
      label: pool,
      colour: colourOf(place + 1),
      points: held.map((value, number) => [start + (number + 0.5) * data.stretch_s, value]),
    }));
  }, [data]);
  const most = Math.max(0, ...(data?.pools ?? []).flatMap(({ held }) => held));
  return html`<section aria-labelledby="occupancy-title">
    <header class="bar"><h2 id="occupancy-title">Occupancy</h2>
      <label>of the last <select value=${seconds} onChange=${(change) => setSeconds(change.target.value)}>${Object.entries(SPANS).map(([value, name]) => html`<option key=${value} value=${value}>${name}</option>`)}</select></label>
      <span class="keys-of">${lines.map(({ key, colour }) => html`<span key=${key}><span class="swatch ${colour.slice(2)}"></span>pool ${key}</span>`)}</span></header>
    ${error && html`<p class="soft" role="note">The occupancy could not be read: ${error.message}</p>`}
    ${data && most === 0 ? html`<p class="soft">No slot was held in that time.</p>` : html`<div class="plot-frame">
      <${Chart} label=${`Slots held by pool over the last ${SPANS[seconds]}; at most ${Math.round(most)}`} lines=${lines} height=${150} axisOf="clock" idle="Slots held, as a mean over each stretch of time." /></div>`}
  </section>`;
}

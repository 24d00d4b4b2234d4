/** What can be set about a chart: against what, how smooth, on which scale. */
import { html } from "../view.js";

/** What can be set about a chart; `value` is one object. */
export function ChartSettings({ value, canLog, onChange }) {
  const set = (name) => (change) => onChange({ ...value, [name]: change.target.type === "checkbox" ? change.target.checked : change.target.value });
  return html`
    <label>against <select value=${value.axis} onChange=${set("axis")}><option value="step">step</option><option value="time">time</option></select></label>
    <label>smoothing <input type="range" min="0" max="0.98" step="0.02" value=${value.weight} onInput=${set("weight")} /></label>
    <label><input type="checkbox" checked=${value.isLog} disabled=${!canLog} onChange=${set("isLog")} /> log scale</label>
  `;
}

export const SETTINGS = { axis: "step", weight: 0, isLog: false };

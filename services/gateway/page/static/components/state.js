/** States as a coloured mark with its word, and progress as a bar. */
import { html } from "../view.js";

const TONES = {
  ACTIVE: "busy",
  RUNNING: "busy",
  UP: "good",
  COMPLETED: "good",
  PAUSED: "warn",
  STOPPING: "warn",
  PARKED: "warn",
  LOST: "bad",
  FAILED: "bad",
};

/** A state's word with a mark; the colour is never the only carrier. */
export function State({ state }) {
  return html`<span class="state ${TONES[state] ?? "calm"}" data-state=${state}>${state.toLowerCase()}</span>`;
}

/** Progress from 0 to 1. */
export function Progress({ value, state, label }) {
  const percent = Math.round(100 * Math.min(1, Math.max(0, value ?? 0)));
  return html`<span class="progress ${TONES[state] ?? "calm"}">
    <progress max="100" value=${percent} aria-label=${label}></progress>
    <span class="percent">${percent} %</span>
  </span>`;
}

/** A named figure. */
export function Fact({ name, children }) {
  return html`<div class="fact"><dt>${name}</dt><dd>${children}</dd></div>`;
}

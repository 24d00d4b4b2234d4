/** What stands where there is nothing to show: loading, empty, failed. */
import { html } from "../view.js";
import { Command } from "./command.js";

/** Shown until the first answer; invisible for the first moment so that fast answers do not flicker. */
export function Loading({ what }) {
  return html`<p class="loading" role="status">Loading ${what}…</p>`;
}

/** Nothing is there: say what would be, and how to get it there. */
export function Empty({ title, children, command }) {
  return html`<div class="notice">
    <h2>${title}</h2>
    <p>${children}</p>
    ${command && html`<${Command} text=${command} />`}
  </div>`;
}

/** A read failed. With old data still on screen it is a line; without, it takes the page's place. */
export function Failure({ error, refresh, what }) {
  const isMissing = error.status === 404;
  return html`<div class="notice failure" role="alert">
    <h2>${isMissing ? `There is no such ${what}` : `Reading the ${what} failed`}</h2>
    <p>${error.message}</p>
    ${
      isMissing
        ? html`<p><a href="#/">All experiments</a></p>`
        : html`<button type="button" onClick=${refresh}>Try again</button>`
    }
  </div>`;
}

/** Show `children(data)` of a resource, or why not yet. */
export function Shown({ resource, what, children }) {
  const { data, error, refresh } = resource;
  if (data === null)
    return error
      ? html`<${Failure} error=${error} refresh=${refresh} what=${what} />`
      : html`<${Loading} what=${what} />`;
  const isStale = error && error.status !== 0;
  return html`${isStale && html`<${Failure} error=${error} refresh=${refresh} what=${what} />`} ${children(data)}`;
}

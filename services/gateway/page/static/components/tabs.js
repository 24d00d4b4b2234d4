/** The parts of a page, each with an address of its own. */
import { link } from "../router.js";
import { html } from "../view.js";

/** tabs: [{name ("" for the first), title}]; `base` are the parts of the address before the name. */
export function Tabs({ label, tabs, base, current }) {
  return html`<nav class="tabs" aria-label=${label}>${tabs.map(
    ({ name, title }) => html`<a key=${name} href=${link(...base, ...(name ? [name] : []))} aria-current=${name === current ? "page" : null}>${title}</a>`,
  )}</nav>`;
}

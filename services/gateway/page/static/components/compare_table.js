/** Things side by side: a column each, a row for each property; what differs stands out, what is the same can go. */
import { formatValue } from "../format.js";
import { html, useState } from "../view.js";
import { Frame } from "./table.js";

const differs = (values) => new Set(values.map((value) => JSON.stringify(value ?? null))).size > 1;

/** subjects: [{key, title (what stands in the heading)}]; rows: [{name, values, shown}] with a value per subject. */
export function CompareTable({ label, subjects, rows }) {
  const [isWhole, setWhole] = useState(false);
  const unlike = rows.filter(({ values }) => differs(values));
  const shown = isWhole ? rows : unlike;
  return html`<section aria-label=${label}>
    <header class="bar"><h2>${label}</h2>
      <label><input type="checkbox" checked=${isWhole} onChange=${() => setWhole(!isWhole)} /> with what is the same (${rows.length - unlike.length})</label></header>
    ${shown.length === 0 ? html`<p class="soft">Nothing differs.</p>` : html`<${Frame} label=${label}><table class="compare">
      <thead><tr><td></td>${subjects.map(({ key, title }) => html`<th key=${key} scope="col" class="number">${title}</th>`)}</tr></thead>
      <tbody>${shown.map(({ name, values, shown: cells }) => html`<tr key=${name} class=${differs(values) ? "" : "same"}>
        <th scope="row">${name}</th>${values.map((value, place) => html`<td key=${subjects[place].key} class="number">${cells ? cells[place] : value === undefined ? "–" : formatValue(value)}</td>`)}
      </tr>`)}</tbody>
    </table><//>`}
  </section>`;
}

/** Rows of nested values by dotted name, in the order the names first come. */
export function rowsOf(trees, flatten) {
  const flat = trees.map((tree) => new Map(flatten(tree)));
  const names = [...new Set(flat.flatMap((each) => [...each.keys()]))];
  return names.map((name) => ({ name, values: flat.map((each) => each.get(name)) }));
}

/** A table that scrolls inside its own frame and sorts by any column. */
import { html, useState } from "../view.js";

const FIRST_ROWS = 200;

/** Compare two cell values; the missing ones come last whichever way the column is sorted. */
function compare(a, b, isDescending) {
  const isMissing = [a, b].map((value) => value === null || value === undefined);
  if (isMissing[0] || isMissing[1]) return isMissing[0] - isMissing[1];
  const order =
    typeof a === "number" && typeof b === "number"
      ? a - b
      : String(a).localeCompare(String(b), "en", { numeric: true });
  return isDescending ? -order : order;
}

/** Rows in the order of the chosen column; equal ones keep the order they came in. */
export function sortRows(rows, column, isDescending) {
  return column ? [...rows].sort((a, b) => compare(column.value(a), column.value(b), isDescending)) : rows;
}

function Heading({ column, order, onSort }) {
  if (!column.value) return html`<th scope="col" class=${column.class}>${column.title}</th>`;
  const isChosen = order.name === column.name;
  const direction = isChosen ? (order.isDescending ? "descending" : "ascending") : "none";
  return html`<th scope="col" class=${column.class} aria-sort=${direction}>
    <button type="button" class="sort" onClick=${() => onSort(column.name, isChosen && !order.isDescending)}>
      ${column.title}<span aria-hidden="true">${{ ascending: " ↑", descending: " ↓", none: "" }[direction]}</span>
    </button>
  </th>`;
}

/** The frame every table stands in: wide ones scroll there, by keyboard too, and not the page. */
export function Frame({ label, children }) {
  return html`<div class="frame" role="group" aria-label=${label} tabindex="0">${children}</div>`;
}

/** columns: [{name, title, cell(row), value(row) to sort by, class}]; `rowClass(row)` marks a row. */
export function Table({ label, columns, rows, rowKey, rowClass = () => "", first = null }) {
  const [order, setOrder] = useState(first ?? { name: null, isDescending: false });
  const [isWhole, setWhole] = useState(false);
  const onSort = (name, isDescending) => setOrder({ name, isDescending });
  const column = columns.find(({ name, value }) => value && name === order.name);
  const sorted = sortRows(rows, column, order.isDescending);
  const shown = isWhole ? sorted : sorted.slice(0, FIRST_ROWS);
  return html`
    <${Frame} label=${label}>
      <table>
        <caption class="unseen">${label}</caption>
        <thead><tr>${columns.map((each) => html`<${Heading} key=${each.name} column=${each} order=${order} onSort=${onSort} />`)}</tr></thead>
        <tbody>
          ${shown.map(
            (row) => html`<tr key=${rowKey(row)} class=${rowClass(row)}>
            ${columns.map((each) => html`<td key=${each.name} class=${each.class}>${each.cell(row)}</td>`)}
          </tr>`,
          )}
        </tbody>
      </table>
    <//>
    ${
      shown.length < sorted.length &&
      html`<p><button type="button" onClick=${() => setWhole(true)}>Show all ${sorted.length} rows</button></p>`
    }
  `;
}

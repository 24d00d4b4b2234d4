/** A table of any length: only the rows in sight are in the document; keys go through it, boxes choose rows. */
import { useKeys } from "../keyboard.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../view.js";

const ROW_PX = 34; // as in the style sheet
const MARGIN_ROWS = 12;
const SHORT_ROWS = 60; // so many are shown whole, and the page scrolls

/** The order of `rows` (row numbers) by `value(row)`; rows without a value come last either way, equal ones stay. */
export function sortRows(rows, value, isDescending) {
  const keyed = Array.from(rows, (row) => [row, value(row)]);
  const sign = isDescending ? -1 : 1;
  keyed.sort(([, a], [, b]) => {
    const aIsMissing = a === null || a === undefined;
    const bIsMissing = b === null || b === undefined;
    if (aIsMissing || bIsMissing) return aIsMissing - bIsMissing;
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * (String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0);
  });
  return keyed.map(([row]) => row);
}

function Heading({ column, order, onSort }) {
  if (!column.value || !onSort) return html`<th scope="col" class=${column.class}>${column.title}</th>`;
  const isChosen = order.name === column.name;
  const direction = isChosen ? (order.isDescending ? "descending" : "ascending") : "none";
  return html`<th scope="col" class=${column.class} aria-sort=${direction}>
    <button type="button" class="sort" onClick=${() => onSort({ name: column.name, isDescending: isChosen ? !order.isDescending : (column.isDescendingFirst ?? false) })}>
      ${column.title}<span aria-hidden="true">${{ ascending: " ↑", descending: " ↓", none: "" }[direction]}</span>
    </button>
  </th>`;
}

/** A stretch of rows that are not drawn. */
function Gap({ rows, span }) {
  const cell = useRef(null);
  useLayoutEffect(() => {
    cell.current.style.height = `${rows * ROW_PX}px`;
  }, [rows]);
  return html`<tr class="gap" aria-hidden="true"><td ref=${cell} colspan=${span}></td></tr>`;
}

/** What part of the rows is in sight of a frame that scrolls: {first, last}. */
function useWindow(frame, count) {
  const [span, setSpan] = useState({ first: 0, last: SHORT_ROWS });
  const look = () => {
    if (frame.current === null) return; // an observer may speak once more at the end
    const { scrollTop, clientHeight } = frame.current;
    const first = Math.max(0, Math.floor(scrollTop / ROW_PX) - MARGIN_ROWS);
    const last = Math.ceil((scrollTop + clientHeight) / ROW_PX) + MARGIN_ROWS;
    setSpan((old) => (old.first === first && old.last === last ? old : { first, last }));
  };
  useEffect(() => {
    look();
    const observer = new ResizeObserver(look);
    observer.observe(frame.current);
    return () => observer.disconnect();
  }, []);
  useEffect(look, [count]);
  return [count <= SHORT_ROWS ? { first: 0, last: count } : { first: span.first, last: Math.min(span.last, count) }, look];
}

/** Columns keep the width they once had, so that scrolling moves nothing sideways. */
function useSteadyColumns(frame, isLong, names) {
  const widths = useRef(new Map());
  useLayoutEffect(() => {
    if (!isLong) return;
    for (const heading of frame.current.querySelectorAll("thead th")) {
      const key = heading.textContent.replace(/ [↑↓]$/, "");
      const width = Math.max(widths.current.get(key) ?? 0, Math.floor(heading.offsetWidth));
      widths.current.set(key, width);
      heading.style.minWidth = `${width}px`;
    }
  }, [isLong, names]);
}

function useCursor({ rows, frame, onOpen, onToggle }) {
  const [cursor, setCursor] = useState(-1);
  const move = (step) => {
    const next = Math.max(0, Math.min(rows.length - 1, cursor + step));
    setCursor(next);
    const top = next * ROW_PX;
    const { scrollTop, clientHeight } = frame.current;
    if (top < scrollTop) frame.current.scrollTop = top;
    else if (top + 2 * ROW_PX > scrollTop + clientHeight) frame.current.scrollTop = top + 2 * ROW_PX - clientHeight;
    requestAnimationFrame(() => frame.current?.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" }));
  };
  const here = () => rows[cursor];
  useKeys([
    { key: "j", does: "next row", run: () => move(1) },
    { key: "k", does: "row before", run: () => move(-1) },
    { key: "Enter", does: "open the row", run: () => here() !== undefined && onOpen(here()) },
    ...(onToggle ? [{ key: "x", does: "choose the row, or not", run: () => here() !== undefined && onToggle(here()) }] : []),
  ]);
  return cursor;
}

/** columns: [{name, title, class, cell(row), value(row) to sort by}]; rows: an array of whatever cell() takes.
 *
 * `chosen` is a Set of keys with `onToggle(row)` and `onToggleAll()`, or null where nothing is chosen.
 */
export function LongTable({ label, columns, rows, rowKey, rowName, rowClass = () => "", order, onSort, onOpen, chosen = null, onToggle, onToggleAll, onEnd }) {
  const frame = useRef(null);
  const [{ first, last }, look] = useWindow(frame, rows.length);
  const isLong = rows.length > SHORT_ROWS;
  const cursor = useCursor({ rows, frame, onOpen, onToggle: chosen && onToggle });
  useSteadyColumns(frame, isLong, columns.map(({ name }) => name).join());
  useEffect(() => {
    if (last >= rows.length) onEnd?.();
  }, [last, rows.length]);
  const span = columns.length + (chosen ? 1 : 0);
  const isAll = chosen !== null && rows.length > 0 && chosen.size >= rows.length;
  const shown = Array.from({ length: Math.max(0, last - first) }, (_, number) => first + number);
  return html`<div ref=${frame} class="frame ${isLong ? "long" : ""}" role="group" aria-label=${label} tabindex="0" onScroll=${look}>
    <table aria-rowcount=${rows.length + 1}>
      <caption class="unseen">${label}</caption>
      <thead><tr>
        ${chosen && html`<th scope="col" class="choice"><input type="checkbox" aria-label="Choose all" checked=${isAll} onChange=${onToggleAll} /></th>`}
        ${columns.map((each) => html`<${Heading} key=${each.name} column=${each} order=${order} onSort=${onSort} />`)}
      </tr></thead>
      <tbody>
        ${first > 0 && html`<${Gap} rows=${first} span=${span} />`}
        ${shown.map((number) => {
          const row = rows[number];
          const key = rowKey(row);
          return html`<tr key=${key} class=${rowClass(row)} aria-rowindex=${number + 2} aria-current=${number === cursor ? "true" : null}>
            ${chosen && html`<td class="choice"><input type="checkbox" aria-label=${`Choose ${rowName(row)}`} checked=${chosen.has(key)} onChange=${() => onToggle(row)} /></td>`}
            ${columns.map((each) => html`<td key=${each.name} class=${each.class}>${each.cell(row)}</td>`)}
          </tr>`;
        })}
        ${last < rows.length && html`<${Gap} rows=${rows.length - last} span=${span} />`}
      </tbody>
    </table>
  </div>`;
}

/** Parallel coordinates: a line a trial through every hyperparameter to the metric; drag along an axis to keep a part. */
import { formatValue } from "../format.js";
import { placeIn, rangeOf } from "../spaces.js";
import { html, useEffect, useMemo, useRef, useState } from "../view.js";
import { Canvas, scale, styleValue } from "./canvas.js";

const EDGE = { left: 40, right: 56, top: 46, bottom: 30 };
const REACH_PX = 7;
const SMALLEST = 0.01; // a shorter drag is a click, which takes the brush away

/** The axes: every dimension and then the metric, each with the place (0 to 1, or null) of every row. */
export function axesOf(dimensions, trials, rows, metric) {
  const last = { name: metric, kind: "number", isLog: false, values: trials.metric, categories: [], isMetric: true };
  return [...dimensions, last].map((dimension) => {
    const range = rangeOf(rows.map((row) => dimension.values[row]));
    return { ...dimension, range, places: new Map(rows.map((row) => [row, placeIn(dimension, dimension.values[row], range)])) };
  });
}

/** The rows that every brush holds. */
export function brushed(axes, rows, brushes) {
  const active = axes.filter(({ name }) => brushes[name]);
  return rows.filter((row) => active.every(({ name, places }) => {
    const place = places.get(row);
    return place !== null && place >= brushes[name][0] && place <= brushes[name][1];
  }));
}

const layoutOf = (num, width, height) => ({
  x: (number) => EDGE.left + (num < 2 ? 0 : (number * (width - EDGE.left - EDGE.right)) / (num - 1)),
  y: (place) => height - EDGE.bottom - place * (height - EDGE.top - EDGE.bottom),
  place: (y) => Math.min(1, Math.max(0, (height - EDGE.bottom - y) / (height - EDGE.top - EDGE.bottom))),
});

function drawLine(context, axes, to, row) {
  context.beginPath();
  let isDown = false;
  axes.forEach(({ places }, number) => {
    const place = places.get(row);
    if (place === null) isDown = false;
    else {
      context[isDown ? "lineTo" : "moveTo"](to.x(number), to.y(place));
      isDown = true;
    }
  });
  context.stroke();
}

const valueAt = (axis, place) => (axis.isLog ? axis.range[0] * (axis.range[1] / axis.range[0]) ** place : axis.range[0] + place * (axis.range[1] - axis.range[0]));

function drawAxis(context, axis, x, to, brush) {
  context.strokeStyle = styleValue("--edge");
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, to.y(0));
  context.lineTo(x, to.y(1));
  context.stroke();
  context.textAlign = "center";
  context.fillStyle = styleValue(axis.isMetric ? "--best" : "--ink");
  context.fillText(axis.name.length > 18 ? `…${axis.name.slice(-17)}` : axis.name, x, 16);
  context.fillStyle = styleValue("--ink-soft");
  if (axis.kind === "number") {
    context.fillText(formatValue(axis.range[1]), x, to.y(1) - 8);
    context.fillText(formatValue(axis.range[0]), x, to.y(0) + 18);
  } else {
    for (const each of axis.categories) context.fillText(each, x, to.y(placeIn(axis, each, axis.range)) - 5);
  }
  if (!brush) return;
  context.fillStyle = styleValue("--accent");
  context.globalAlpha = 0.25;
  context.fillRect(x - 7, to.y(brush[1]), 14, to.y(brush[0]) - to.y(brush[1]));
  context.globalAlpha = 1;
}

/** The row whose line is nearest to a point, or null. */
function nearestRow(axes, rows, to, px, py) {
  const before = axes.findLastIndex((_, number) => to.x(number) <= px);
  if (before < 0 || before >= axes.length - 1) return null;
  const share = (px - to.x(before)) / (to.x(before + 1) - to.x(before));
  let [found, least] = [null, REACH_PX];
  for (const row of rows) {
    const [from, next] = [axes[before].places.get(row), axes[before + 1].places.get(row)];
    if (from === null || next === null) continue;
    const far = Math.abs(to.y(from + (next - from) * share) - py);
    if (far < least) [found, least] = [row, far];
  }
  return found;
}

function Brushes({ axes, brushes, onBrush }) {
  const active = axes.filter(({ name }) => brushes[name]);
  if (active.length === 0) return html`<span class="soft">Drag along an axis to keep a part of it.</span>`;
  return active.map((axis) => {
    const [low, high] = brushes[axis.name];
    const what = axis.kind === "category"
      ? axis.categories.filter((each) => placeIn(axis, each, axis.range) >= low && placeIn(axis, each, axis.range) <= high).join(", ")
      : `${formatValue(valueAt(axis, low))} to ${formatValue(valueAt(axis, high))}`;
    return html`<button key=${axis.name} type="button" class="chip" aria-label=${`Take away the brush on ${axis.name}`} onClick=${() => onBrush(axis.name, null)}>${axis.name}: ${what} <span aria-hidden="true">×</span></button>`;
  });
}

/** `rows` are drawn; those in `lit` (a Set) in colour by `ranking` (0: worst, 1: best). */
export function Parallel({ axes, rows, lit, ranking, trials, brushes, onBrush, onOpen }) {
  const frame = useRef(null);
  const readout = useRef(null);
  const [drag, setDrag] = useState(null);
  const [hovered, setHovered] = useState(null);
  const draw = useMemo(() => (context, width, height) => {
    const [to, colour] = [layoutOf(axes.length, width, height), scale()];
    context.lineWidth = 1.2;
    context.strokeStyle = styleValue("--rule");
    for (const row of rows) if (!lit.has(row)) drawLine(context, axes, to, row);
    for (const row of rows) {
      if (!lit.has(row)) continue;
      context.strokeStyle = colour(ranking.get(row));
      context.lineWidth = row === hovered ? 4 : 1.4;
      drawLine(context, axes, to, row);
    }
    axes.forEach((axis, number) => drawAxis(context, axis, to.x(number), to, drag?.name === axis.name ? [drag.low, drag.high] : brushes[axis.name]));
  }, [axes, rows, lit, ranking, brushes, drag, hovered]);
  const layout = () => layoutOf(axes.length, frame.current.clientWidth, frame.current.clientHeight);
  const begin = (pointer) => {
    const to = layout();
    const box = frame.current.getBoundingClientRect();
    const x = pointer.clientX - box.left;
    const axis = axes.findIndex((_, number) => Math.abs(to.x(number) - x) < 16);
    if (axis < 0) return;
    const place = to.place(pointer.clientY - box.top);
    frame.current.setPointerCapture(pointer.pointerId);
    setDrag({ name: axes[axis].name, from: place, low: place, high: place });
  };
  const follow = (pointer) => {
    if (!drag) return;
    const place = layout().place(pointer.clientY - frame.current.getBoundingClientRect().top);
    setDrag({ ...drag, low: Math.min(drag.from, place), high: Math.max(drag.from, place) });
  };
  const end = () => {
    if (drag) onBrush(drag.name, drag.high - drag.low < SMALLEST ? null : [drag.low, drag.high]);
    setDrag(null);
  };
  const tell = (px, py) => {
    if (drag) return;
    const row = px === null ? null : nearestRow(axes, [...lit], layout(), px, py);
    if (row !== hovered) setHovered(row);
    readout.current.textContent = row === null ? " " : `trial ${trials.index[row]} · ${axes.map(({ name, values }) => `${name} ${formatValue(values[row])}`).join(" · ")}`;
  };
  useEffect(() => setHovered(null), [rows]);
  return html`<figure class="plot-frame">
    <div ref=${frame} class="parallel" onPointerDown=${begin} onPointerMove=${follow} onPointerUp=${end} onPointerCancel=${() => setDrag(null)}>
      <${Canvas} label=${`Parallel coordinates of ${rows.length} trials over ${axes.map(({ name }) => name).join(", ")}`} draw=${draw} onMove=${tell}
        onClick=${() => hovered !== null && !drag && onOpen(hovered)} />
    </div>
    <figcaption><div ref=${readout} class="readout"> </div><div class="bar chips"><${Brushes} axes=${axes} brushes=${brushes} onBrush=${onBrush} /></div></figcaption>
  </figure>`;
}

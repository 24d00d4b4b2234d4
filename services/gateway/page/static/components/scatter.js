/** The metric against one hyperparameter, a dot a trial; the axes end where the trials do. */
import { formatValue } from "../format.js";
import { placeIn, rangeOf } from "../spaces.js";
import { html, useMemo, useRef } from "../view.js";
import { Canvas, scale, styleValue } from "./canvas.js";

const EDGE = { left: 60, right: 14, top: 10, bottom: 24 };
const DOT_PX = 3.5;
const REACH_PX = 10;

/** A place for each row that has both values: [{row, x, y}] between 0 and 1. */
function dotsOf(dimension, metric, rows, ranges) {
  return rows.flatMap((row) => {
    const x = placeIn(dimension, dimension.values[row], ranges.x);
    return x === null ? [] : [{ row, x, y: (metric[row] - ranges.y[0]) / (ranges.y[1] - ranges.y[0] || 1) }];
  });
}

const inside = (width, height) => ({
  x: (place) => EDGE.left + place * (width - EDGE.left - EDGE.right),
  y: (place) => height - EDGE.bottom - place * (height - EDGE.top - EDGE.bottom),
});

/** Range frames (Tufte): lines from the least to the largest value, with those two written. */
function drawFrame(context, width, height, dimension, ranges) {
  const to = inside(width, height);
  context.strokeStyle = styleValue("--edge");
  context.fillStyle = styleValue("--ink-soft");
  context.beginPath();
  context.moveTo(to.x(0), height - EDGE.bottom + 6);
  context.lineTo(to.x(1), height - EDGE.bottom + 6);
  context.moveTo(EDGE.left - 8, to.y(0));
  context.lineTo(EDGE.left - 8, to.y(1));
  context.stroke();
  context.textAlign = "right";
  context.fillText(formatValue(ranges.y[1]), EDGE.left - 12, to.y(1) + 4);
  context.fillText(formatValue(ranges.y[0]), EDGE.left - 12, to.y(0) + 4);
  const { categories } = dimension;
  const marks = dimension.kind === "category" ? categories.map((each) => [placeIn(dimension, each, ranges.x), each]) : [[0, formatValue(ranges.x[0])], [1, formatValue(ranges.x[1])]];
  marks.forEach(([place, text], number) => {
    context.textAlign = marks.length === 1 ? "center" : number === 0 ? "left" : number === marks.length - 1 ? "right" : "center";
    context.fillText(text, to.x(place), height - 4);
  });
}

export function Scatter({ dimension, trials, rows, ranking, metric, isLit, onOpen }) {
  const readout = useRef(null);
  const { dots, ranges } = useMemo(() => {
    const both = { x: rangeOf(rows.map((row) => dimension.values[row])), y: rangeOf(rows.map((row) => trials.metric[row])) };
    return { ranges: both, dots: dotsOf(dimension, trials.metric, rows, both) };
  }, [dimension, rows]);
  const draw = useMemo(() => (context, width, height) => {
    const [to, colour] = [inside(width, height), scale()];
    drawFrame(context, width, height, dimension, ranges);
    for (const { row, x, y } of dots) {
      context.globalAlpha = isLit(row) ? 0.85 : 0.12;
      context.fillStyle = colour(ranking.get(row));
      context.beginPath();
      context.arc(to.x(x), to.y(y), DOT_PX, 0, 2 * Math.PI);
      context.fill();
    }
  }, [dots, ranges, isLit, ranking]);
  const nearest = (px, py, canvas) => {
    const to = inside(canvas.clientWidth, canvas.clientHeight);
    const far = ({ x, y }) => Math.hypot(to.x(x) - px, to.y(y) - py);
    const best = dots.reduce((found, dot) => (found === null || far(dot) < far(found) ? dot : found), null);
    return best && far(best) < REACH_PX ? best.row : null;
  };
  const tell = (px, py, canvas) => {
    const row = px === null ? null : nearest(px, py, canvas);
    readout.current.textContent = row === null ? " " : `trial ${trials.index[row]} · ${formatValue(dimension.values[row])} · ${formatValue(trials.metric[row])}`;
  };
  return html`<figure class="small-chart scatter">
    <h3>${dimension.name}${dimension.isLog && html` <span class="soft small">log scale</span>`}</h3>
    <${Canvas} label=${`${metric} against ${dimension.name}, ${dots.length} trials`} draw=${draw} onMove=${tell}
      onClick=${(px, py, canvas) => { const row = nearest(px, py, canvas); if (row !== null) onOpen(row); }} />
    <figcaption ref=${readout} class="readout"> </figcaption>
  </figure>`;
}

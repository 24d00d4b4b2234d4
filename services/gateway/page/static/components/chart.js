/** Line charts, drawn by uPlot on a canvas: colours from the style sheet, size from the page, new points without a flicker. */
import { formatBytes, formatDuration, formatTime, formatValue } from "../format.js";
import uPlot from "../vendor/uplot.js";
import { html, useEffect, useRef } from "../view.js";

const NUM_COLOURS = 8;
const REACH_PX = 24;
const FEW_POINTS = 40; // with more than these a line alone is clearer than its dots

/** The name of the style sheet's colour for line number `index`. */
export const colourOf = (index) => `--line-${(((index - 1) % NUM_COLOURS) + NUM_COLOURS) % NUM_COLOURS}`;

function styleValue(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Join lines with steps of their own into uPlot's table: one column of steps, one of values per line. */
function tabulate(lines) {
  if (lines.length === 0) return [[], []];
  return uPlot.join(lines.map(({ points }) => [points.map(([step]) => step), points.map(([, value]) => value)]));
}

function axis(extra) {
  return {
    stroke: styleValue("--ink-soft"),
    font: `12px ${styleValue("--font")}`,
    grid: { stroke: styleValue("--rule"), width: 1 },
    ticks: { show: false },
    ...extra,
  };
}

function seriesOf(line) {
  return {
    label: line.label,
    stroke: styleValue(line.colour),
    width: line.isStrong ? 3 : 1.5,
    dash: line.isDashed ? [5, 4] : undefined,
    alpha: line.isFaint ? 0.6 : 1,
    spanGaps: true, // the lines share a column of steps; a trial's own points are next to each other
    points: { show: line.points.length <= FEW_POINTS, size: line.isStrong ? 7 : 5 },
  };
}

/** How the x axis is written: steps as whole numbers, times as spans. */
const MARKS = {
  step: (mark) => (Number.isInteger(mark) ? mark.toLocaleString("en-US") : ""),
  time: (mark) => formatDuration(mark),
  clock: (mark) => formatTime(mark * 1000).slice(0, -3),
};
const SPOKEN = {
  step: (x) => `step ${Math.round(x).toLocaleString("en-US")}`,
  time: (x) => `after ${formatDuration(x)}`,
  clock: (x) => formatTime(x * 1000),
};

function optionsOf({ lines, isLog, axisOf = "step", isBytes, width, height, onFocus }) {
  return {
    width,
    height,
    legend: { show: false },
    focus: { alpha: lines.length > 1 ? 0.3 : 1 },
    cursor: { focus: { prox: REACH_PX }, points: { size: 8 }, drag: { x: true, y: false } },
    scales: { x: { time: axisOf === "clock" }, y: { distr: isLog ? 3 : 1 } },
    axes: [
      axis({
        size: 36,
        values: (_, marks) => marks.map(MARKS[axisOf]),
      }),
      axis({
        size: 58,
        values: (_, marks) => marks.map((mark) => (mark === null ? "" : isBytes ? formatBytes(mark) : formatValue(Number(mark.toPrecision(6))))),
      }),
    ],
    series: [{}, ...(lines.length ? lines.map(seriesOf) : [{}])],
    hooks: { setCursor: [onFocus] },
  };
}

/** What uPlot must be built anew for; anything else is only new data. */
const shapeOf = ({ lines, isLog, height, axisOf }) =>
  JSON.stringify([
    isLog,
    height,
    axisOf,
    ...lines.map((l) => [l.key, l.colour, l.isStrong, l.isFaint, l.points.length <= FEW_POINTS]),
  ]);

/** The line nearest to the pointer and the index of its point there, or null. */
function pointed(plot) {
  const number = plot.series.findIndex((series, index) => index > 0 && series._focus);
  const index = number > 0 ? plot.cursor.idxs[number] : null;
  return index === null || index === undefined ? null : { number, index };
}

/** One living plot inside `host`. */
class Plot {
  constructor(host, readout) {
    Object.assign(this, { host, readout, plot: null, shape: null, lines: [], properties: null });
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(host);
    this.theme = matchMedia("(prefers-color-scheme: dark)");
    this.repaint = () => this.build();
    this.theme.addEventListener("change", this.repaint);
    host.addEventListener("click", () => this.pick());
  }

  size() {
    return { width: Math.max(this.host.clientWidth, 120), height: this.properties.height };
  }

  show(properties) {
    this.properties = properties;
    const shape = shapeOf(properties);
    if (this.plot === null || shape !== this.shape) this.build();
    else this.plot.setData(tabulate(properties.lines), !this.isZoomed());
    this.shape = shape;
  }

  isZoomed() {
    const steps = this.plot.data[0];
    const { min, max } = this.plot.scales.x;
    return steps.length > 1 && (min > steps[0] || max < steps[steps.length - 1]);
  }

  build() {
    this.plot?.destroy();
    const { lines, isLog, axisOf, isBytes } = this.properties;
    const options = optionsOf({ lines, isLog, axisOf, isBytes, ...this.size(), onFocus: () => this.tell() });
    this.plot = new uPlot(options, tabulate(lines), this.host);
  }

  resize() {
    if (this.plot !== null) this.plot.setSize(this.size());
  }

  tell() {
    const found = this.plot && pointed(this.plot);
    this.readout.textContent = found ? this.describe(found) : this.properties.idle;
  }

  describe({ number, index }) {
    const { data } = this.plot;
    const place = SPOKEN[this.properties.axisOf ?? "step"](data[0][index]);
    return `${this.properties.lines[number - 1].label} · ${place} · ${(this.properties.isBytes ? formatBytes : formatValue)(data[number][index])}`;
  }

  pick() {
    const found = pointed(this.plot);
    const isClick = this.plot.select.width === 0; // a drag zooms
    if (found && isClick) this.properties.onPick?.(this.properties.lines[found.number - 1]);
  }

  destroy() {
    this.observer.disconnect();
    this.theme.removeEventListener("change", this.repaint);
    this.plot?.destroy();
  }
}

/** lines: [{key, label, points: [[step, value]], colour, isStrong, isFaint, isDashed}], later ones on top. */
export function Chart({ label, lines, height = 280, isLog = false, axisOf = "step", isBytes = false, idle = "", onPick = null }) {
  const host = useRef(null);
  const readout = useRef(null);
  const plot = useRef(null);
  useEffect(() => {
    plot.current = new Plot(host.current, readout.current);
    return () => plot.current.destroy();
  }, []);
  useEffect(() => plot.current.show({ lines, height, isLog, axisOf, isBytes, idle, onPick }), [lines, height, isLog, axisOf, isBytes, idle, onPick]);
  return html`<figure class="chart">
    <div ref=${host} class="plot" role="img" aria-label=${label}></div>
    <figcaption ref=${readout} class="readout">${idle}</figcaption>
  </figure>`;
}

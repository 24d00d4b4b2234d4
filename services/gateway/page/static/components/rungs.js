/** The rungs as a slope graph: who came to each, who went on, where the line between them was. */
import { formatCount, formatValue } from "../format.js";
import { touchesExperiment } from "../live.js";
import { useResource } from "../resource.js";
import { link } from "../router.js";
import { readRungs, Rungs as Fold } from "../rungs.js";
import { rangeOf } from "../spaces.js";
import { html, useEffect, useMemo, useRef, useState } from "../view.js";
import { Shown } from "./notice.js";

const HEIGHT = 300;
const EDGE = { left: 60, right: 60, top: 14, bottom: 14 };
const MOST_LINKED = 400; // of more, only the lines are drawn
const NAMES = new Set(["TrialExtended", "TrialStopped", "TrialClosed"]);

/** The metric of the last that went on: those on the other side of it stayed. */
function threshold(entries, isSmaller) {
  const values = entries.filter(({ wentOn, metric }) => wentOn && metric !== null).map(({ metric }) => metric);
  return values.length ? (isSmaller ? Math.max : Math.min)(...values) : null;
}

function useWidth() {
  const element = useRef(null);
  const [width, setWidth] = useState(900);
  useEffect(() => {
    const observer = new ResizeObserver(([{ contentRect }]) => setWidth(Math.max(280, contentRect.width)));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return [element, width];
}

function Dot({ entry, x, y, bestId }) {
  const title = `trial ${entry.trialId.split("-").at(-1)}: ${formatValue(entry.metric)}, place ${entry.place}, ${entry.wentOn ? "went on" : "stopped"}`;
  const kind = entry.trialId === bestId ? "best" : entry.wentOn ? "on" : "out";
  return html`<a href=${link("trials", entry.trialId)} aria-label=${title}><title>${title}</title><circle class="dot ${kind}" cx=${x} cy=${y} r=${kind === "best" ? 6 : 4.5} /></a>`;
}

/** Lines from each rung to the next for those that went on. */
function slopes(rungs, to, bestId) {
  return rungs.slice(1).flatMap((rung, number) => [...rung.entries.values()].flatMap((entry) => {
    const before = rungs[number].entries.get(entry.trialId);
    if (!before || before.metric === null || entry.metric === null) return [];
    return [html`<line key=${`${entry.trialId} ${rung.rung}`} class="slope ${entry.trialId === bestId ? "best" : ""}" x1=${to.x(number)} y1=${to.y(before.metric)} x2=${to.x(number + 1)} y2=${to.y(entry.metric)} />`];
  }));
}

function Bracket({ number, rungs, isSmaller, unit, best, isAlone }) {
  const [element, width] = useWidth();
  const [low, high] = rangeOf(rungs.flatMap(({ entries }) => [...entries.values()].map(({ metric }) => metric)));
  const step = rungs.length > 1 ? (width - EDGE.left - EDGE.right) / (rungs.length - 1) : 0;
  const to = {
    x: (place) => EDGE.left + place * step,
    y: (value) => HEIGHT - EDGE.bottom - ((value - low) / (high - low || 1)) * (HEIGHT - EDGE.top - EDGE.bottom),
  };
  const total = rungs.reduce((sum, { entries }) => sum + entries.size, 0);
  return html`<figure class="plot-frame rungs" ref=${element}>
    ${!isAlone && html`<h3>Bracket ${number + 1}</h3>`}
    <svg width=${width} height=${HEIGHT} role="group" aria-label=${`Bracket ${number + 1}: ${rungs.length} rungs`}>
      <text class="axis" x="4" y=${to.y(high) + 4}>${formatValue(high)}</text><text class="axis" x="4" y=${to.y(low) + 4}>${formatValue(low)}</text>
      ${slopes(rungs, to, best)}
      ${rungs.map((rung, place) => {
        const entries = [...rung.entries.values()];
        const cut = rung.rung < rung.numRungs ? threshold(entries, isSmaller) : null;
        return html`<g key=${rung.rung}>
          <line class="rung" x1=${to.x(place)} x2=${to.x(place)} y1=${EDGE.top} y2=${HEIGHT - EDGE.bottom} />
          ${cut !== null && html`<line class="cut" x1=${to.x(place) - 22} x2=${to.x(place) + 22} y1=${to.y(cut)} y2=${to.y(cut)} />`}
          ${total <= MOST_LINKED && entries.filter(({ metric }) => metric !== null).map((entry) => html`<${Dot} key=${entry.trialId} entry=${entry} x=${to.x(place)} y=${to.y(entry.metric)} bestId=${best} />`)}
        </g>`;
      })}
    </svg>
    <ol class="rung-names">${rungs.map((rung) => {
      const entries = [...rung.entries.values()];
      const numOn = entries.filter(({ wentOn }) => wentOn).length;
      return html`<li key=${rung.rung}><strong>Rung ${rung.rung}</strong> <span class="soft">${formatCount(rung.units)} ${unit}</span><br />
        ${rung.rung < rung.numRungs ? `${formatCount(entries.length)} came, ${formatCount(numOn)} went on` : `${formatCount(entries.length)} reached the end`}</li>`;
    })}</ol>
  </figure>`;
}

/** The unit of max_length: batches, records, epochs; "units" where a time metric counts. */
const unitOf = ({ max_length: length }) => Object.entries(length ?? {}).find(([, value]) => value !== null)?.[0] ?? "units";

export function Rungs({ experiment }) {
  const fold = useRef(null);
  const resource = useResource(
    `rungs of ${experiment.id}`,
    async (options) => {
      fold.current = new Fold();
      return { isWhole: await readRungs(experiment.id, fold.current, { signal: options.signal }), brackets: fold.current.byBracket() };
    },
    (event) => NAMES.has(event.name) && touchesExperiment(event, experiment.id),
  );
  const unit = useMemo(() => unitOf(experiment.config.searcher), [experiment.id]);
  return html`<section aria-labelledby="rungs-title">
    <h2 id="rungs-title">Rungs</h2>
    <p class="soft">Every trial trains a little; at each rung the best go on from their checkpoints and the others stop. A dot is a trial when it was last judged, filled if it
      went on; the short line is the last ${experiment.searcher.metric} that did. Later results move it, so that a trial may have passed with less.</p>
    <${Shown} resource=${resource} what="rungs">${({ brackets, isWhole }) => html`
      ${brackets.length === 0 && html`<p class="notice">No trial has come to its first rung yet.</p>`}
      ${!isWhole && html`<p class="soft">The first 20,000 decisions of each kind are drawn.</p>`}
      ${brackets.map(([number, rungs]) => html`<${Bracket} key=${number} number=${number} rungs=${rungs} isSmaller=${experiment.searcher.smaller_is_better} unit=${unit} best=${experiment.best?.trial_id} isAlone=${brackets.length === 1} />`)}
    `}<//>
  </section>`;
}

/** What led to what, as a graph: a lane for each writer, an arrow from each cause; a click shows the way back. */
import { formatTime } from "../format.js";
import { linkToEvents } from "../router.js";
import { html, useMemo, useState } from "../view.js";
import { Time } from "./time.js";

const LANES = ["gateway", "searcher", "scheduler", "worker", "tracker"];
const LANE_PX = 46;
const STEP_PX = 34;
const LEFT_PX = 92;
const TOP_PX = 26;
const MOST_FACTS = 400;

const laneOf = ({ writer }) => Math.max(0, LANES.indexOf(writer.split("-")[0]));

/** The facts that led to one, itself included. */
function ancestry(seq, bySeq) {
  const found = new Set();
  const open = [seq];
  while (open.length > 0) {
    const next = open.pop();
    if (found.has(next) || !bySeq.has(next)) continue;
    found.add(next);
    open.push(...bySeq.get(next).causes);
  }
  return found;
}

/** Places: x by order, y by lane; lanes without a fact are left out. */
function layout(chain) {
  const lanes = LANES.filter((_, lane) => chain.some((fact) => laneOf(fact) === lane));
  const nodes = chain.map((fact, number) => ({
    fact,
    x: LEFT_PX + number * STEP_PX,
    y: TOP_PX + lanes.indexOf(LANES[laneOf(fact)]) * LANE_PX,
  }));
  return { lanes, nodes, bySeq: new Map(nodes.map((node) => [node.fact.seq, node])), width: LEFT_PX + chain.length * STEP_PX + 20, height: TOP_PX + lanes.length * LANE_PX };
}

function curve(from, to) {
  const bend = Math.max(18, (to.x - from.x) / 2);
  return `M${from.x},${from.y} C${from.x + bend},${from.y} ${to.x - bend},${to.y} ${to.x},${to.y}`;
}

function Node({ node, isChosen, isLit, onChoose }) {
  const { fact, x, y } = node;
  const onKeyDown = (press) => {
    if (press.key !== "Enter" && press.key !== " ") return;
    press.preventDefault();
    press.stopPropagation();
    onChoose(fact.seq);
  };
  return html`<g class="node ${fact.writer.split("-")[0]} ${isChosen ? "chosen" : ""} ${isLit ? "" : "dim"}" role="button" tabindex="0" aria-pressed=${isChosen}
    aria-label=${`${fact.name}, event ${fact.seq}`} onClick=${() => onChoose(fact.seq)} onKeyDown=${onKeyDown}>
    <title>${fact.text} (${formatTime(fact.time)})</title>
    <circle class="reach" cx=${x} cy=${y} r="15" /><circle class="mark" cx=${x} cy=${y} r=${isChosen ? 8 : 6} />
  </g>`;
}

function Chosen({ fact, effects, bySeq, onChoose }) {
  const toOther = (seq) => bySeq.has(seq)
    ? html`<button key=${seq} type="button" class="quiet" onClick=${() => onChoose(seq)}>${bySeq.get(seq).fact.name} ${seq}</button>`
    : html`<a key=${seq} href=${linkToEvents({ seq })}>event ${seq}</a> `;
  return html`<div class="chosen-fact" aria-live="polite">
    <p><strong>${fact.name}</strong> <span class="soft"><${Time} at=${fact.time} /> · <a href=${linkToEvents({ seq: fact.seq })}>event ${fact.seq}</a> by ${fact.writer}${fact.actor && fact.actor !== fact.writer ? ` for ${fact.actor}` : ""}</span></p>
    <p>${fact.text}</p>
    <p class="small">${fact.causes.length > 0 ? html`Because of ${fact.causes.map(toOther)}` : html`<span class="soft">No cause on the log: it came from outside.</span>`}
      ${effects.length > 0 && html`<br />It led to ${effects.map(toOther)}`}</p>
  </div>`;
}

export function CausalGraph({ chain }) {
  const facts = chain.slice(-MOST_FACTS);
  const { lanes, nodes, bySeq, width, height } = useMemo(() => layout(facts), [chain]);
  const [picked, setPicked] = useState(null);
  const seq = bySeq.has(picked) ? picked : facts.at(-1)?.seq;
  const lit = useMemo(() => ancestry(seq, new Map(facts.map((fact) => [fact.seq, fact]))), [chain, seq]);
  if (facts.length === 0) return null;
  const edges = nodes.flatMap((to) => to.fact.causes.filter((cause) => bySeq.has(cause)).map((cause) => ({ from: bySeq.get(cause), to })));
  const isLit = (edge) => lit.has(edge.to.fact.seq) && lit.has(edge.from.fact.seq);
  return html`<div class="causes">
    ${chain.length > facts.length && html`<p class="soft">The last ${MOST_FACTS} of ${chain.length} events.</p>`}
    <div class="frame" tabindex="0" role="group" aria-label="What led to what">
      <svg width=${width} height=${height}>
        ${lanes.map((lane, number) => html`<g key=${lane}><line class="lane" x1=${LEFT_PX - 14} x2=${width} y1=${TOP_PX + number * LANE_PX} y2=${TOP_PX + number * LANE_PX} /><text class="axis" x="12" y=${TOP_PX + number * LANE_PX + 4}>${lane}</text></g>`)}
        ${edges.map((edge) => html`<path key=${`${edge.from.fact.seq} ${edge.to.fact.seq}`} class="edge ${isLit(edge) ? "lit" : ""}" d=${curve(edge.from, edge.to)} />`)}
        ${nodes.map((node) => html`<${Node} key=${node.fact.seq} node=${node} isChosen=${node.fact.seq === seq} isLit=${lit.has(node.fact.seq)} onChoose=${setPicked} />`)}
      </svg>
    </div>
    <${Chosen} fact=${bySeq.get(seq).fact} effects=${edges.filter(({ from }) => from.fact.seq === seq).map(({ to }) => to.fact.seq)} bySeq=${bySeq} onChoose=${setPicked} />
  </div>`;
}

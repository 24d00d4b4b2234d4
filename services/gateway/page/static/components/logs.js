/** The output of a trial, as it is written: kept to the newest lines, scrolled along until the reader scrolls up. */
import { to, urlOf } from "../api.js";
import { formatTime, formatUtc } from "../format.js";
import { keepOpen } from "../stream.js";
import { html, useEffect, useRef, useState } from "../view.js";
import { Command } from "./command.js";

const MOST_LINES = 5000;
const NEAR_END_PX = 40;
const CONTROLS = /\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]/g; // colours, cursor moves and other control characters

/** Lets each message through once, also when a reopened stream starts from its beginning again. */
class Once {
  constructor() {
    Object.assign(this, { id: 0, ordinal: 0, newestId: 0, newestOrdinal: 0 });
  }

  rewind() {
    Object.assign(this, { id: 0, ordinal: 0 });
  }

  isNew(id) {
    this.ordinal = id === this.id ? this.ordinal + 1 : 1;
    this.id = id;
    if (id < this.newestId || (id === this.newestId && this.ordinal <= this.newestOrdinal)) return false;
    Object.assign(this, { newestId: id, newestOrdinal: this.ordinal });
    return true;
  }
}

function lineElement({ time, rank, stream, text }, isGang) {
  const line = document.createElement("div");
  line.className = `line from-${stream}`;
  line.title = `${formatUtc(time)} · rank ${rank} · ${stream}`;
  const clock = document.createElement("span");
  clock.className = "clock";
  clock.textContent = isGang ? `${formatTime(time)} [${rank}] ` : `${formatTime(time)} `;
  line.append(clock, text.replace(CONTROLS, ""));
  return line;
}

/** Collects lines and appends them once a frame. */
class Screen {
  constructor(element, isGang, onCount) {
    Object.assign(this, { element, isGang, onCount, waiting: [], frame: null, numLines: 0 });
  }

  add(item) {
    this.waiting.push(item);
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    const { element } = this;
    const isAtEnd = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END_PX;
    const lines = document.createDocumentFragment();
    for (const item of this.waiting.slice(-MOST_LINES)) lines.append(lineElement(item, this.isGang));
    element.append(lines);
    while (element.childElementCount > MOST_LINES) element.firstElementChild.remove();
    if (isAtEnd) element.scrollTop = element.scrollHeight;
    this.numLines += this.waiting.length;
    Object.assign(this, { waiting: [], frame: null });
    this.onCount(this.numLines);
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.element.replaceChildren();
  }
}

function follow(trialId, rank, screen, onState) {
  const once = new Once();
  return keepOpen({
    url: () => {
      once.rewind();
      return urlOf(to`/trials/${trialId}/logs`, { follow: true, rank });
    },
    onMessage: (message) => {
      if (once.isNew(Number(message.lastEventId))) screen.add(JSON.parse(message.data));
    },
    onState,
    onEnd: () => onState("ended"),
  });
}

const SAID = {
  open: "following",
  lost: "reconnecting…",
  asleep: "paused",
  ended: "complete",
  connecting: "connecting…",
};

function describe(numLines, state) {
  const kept =
    numLines > MOST_LINES
      ? `newest ${MOST_LINES.toLocaleString("en-US")} of ${numLines.toLocaleString("en-US")} lines`
      : `${numLines} lines`;
  return `${kept} · ${SAID[state]}`;
}

export function Logs({ trial }) {
  const element = useRef(null);
  const [rank, setRank] = useState("");
  const [state, setState] = useState("connecting");
  const [numLines, setNumLines] = useState(0);
  useEffect(() => {
    setNumLines(0);
    const screen = new Screen(element.current, trial.slots > 1, setNumLines);
    const stop = follow(trial.id, rank, screen, setState);
    return () => {
      stop();
      screen.close();
    };
  }, [trial.id, rank]);
  const ranks = Array.from({ length: trial.slots }, (_, index) => String(index));
  return html`<section aria-labelledby="logs-title">
    <header class="bar">
      <h2 id="logs-title">Logs</h2>
      ${
        ranks.length > 1 &&
        html`<label>Rank <select value=${rank} onChange=${(change) => setRank(change.target.value)}>
        <option value="">all</option>
        ${ranks.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
      </select></label>`
      }
      <span class="soft" data-lines=${numLines}>${describe(numLines, state)}</span>
      <${Command} text=${`tm logs -f ${trial.id}`} />
    </header>
    <div class="logs-frame">
      <div ref=${element} class="logs" role="log" aria-label="Trial output" tabindex="0"></div>
      ${numLines === 0 && html`<p class="soft overlay">${state === "ended" ? "This trial wrote nothing." : "Nothing written yet."}</p>`}
    </div>
  </section>`;
}

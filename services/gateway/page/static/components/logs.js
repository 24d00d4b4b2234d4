/** The output of a trial: the newest lines and what comes, further back as one scrolls, searched on the server. */
import { to, urlOf } from "../api.js";
import { formatCount } from "../format.js";
import { useKeys } from "../keyboard.js";
import { LogWindow } from "../log_window.js";
import { html, useEffect, useRef, useState } from "../view.js";
import { Command } from "./command.js";
import { LogLines } from "./log_lines.js";

const TYPING_MS = 250;
const SAID = { open: "following", lost: "reconnecting…", asleep: "paused", ended: "complete", connecting: "reading…", failed: "could not be read", past: "as it was" };

function describe(output, state, wanted) {
  const { lines, before } = output;
  const what = wanted.search ? "matching lines" : lines.length === 1 ? "line" : "lines";
  const more = before !== null || (wanted.fromStart && !output.isAtEnd) ? "+" : "";
  return `${formatCount(lines.length)}${more} ${what} · ${SAID[state]}`;
}

function useOutput(trialId, wanted) {
  const [shown, setShown] = useState({ version: 0, added: 0 });
  const [state, setState] = useState("connecting");
  const output = useRef(null);
  useEffect(() => {
    setState("connecting");
    const onChange = ({ added }) => setShown((old) => ({ version: old.version + 1, added }));
    output.current = new LogWindow({ trialId, ...wanted, onChange, onState: setState });
    onChange({ added: 0 });
    output.current.open();
    return () => output.current.close();
  }, [trialId, wanted]);
  return { output: output.current, state, ...shown };
}

const EVERYTHING = { rank: "", search: "", fromStart: false };

export function Logs({ trial }) {
  const [wanted, setWanted] = useState(EVERYTHING);
  const [search, setSearch] = useState("");
  const field = useRef(null);
  const { output, state, version, added } = useOutput(trial.id, wanted);
  useEffect(() => {
    const timer = setTimeout(() => setWanted((old) => (old.search === search ? old : { ...old, search })), TYPING_MS);
    return () => clearTimeout(timer);
  }, [search]);
  useKeys([{ key: "/", does: "search the output", run: () => field.current.focus() }]);
  const lines = output?.lines ?? [];
  const ranks = Array.from({ length: trial.slots }, (_, index) => String(index));
  const isEmpty = lines.length === 0 && state !== "connecting";
  return html`<section aria-labelledby="logs-title">
    <header class="bar">
      <h2 id="logs-title">Logs</h2>
      <input ref=${field} type="search" aria-label="Search the output" placeholder="Search  /" value=${search} spellcheck="false" onInput=${(input) => setSearch(input.target.value)} />
      ${ranks.length > 1 && html`<label>Rank <select value=${wanted.rank} onChange=${(change) => setWanted({ ...wanted, rank: change.target.value })}>
        <option value="">all</option>
        ${ranks.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
      </select></label>`}
      <label>from <select value=${wanted.fromStart ? "start" : "end"} onChange=${(change) => setWanted({ ...wanted, fromStart: change.target.value === "start" })}>
        <option value="end">the end, following</option><option value="start">the start</option></select></label>
      <span class="soft" data-lines=${lines.length} data-state=${state}>${output && describe(output, state, wanted)}</span>
      <a href=${urlOf(to`/trials/${trial.id}/logs`, { rank: wanted.rank })} download=${`${trial.id}.ndjson`}>Download</a>
      <${Command} text=${`tm logs -f ${trial.id}`} />
    </header>
    <div class="logs-frame">
      <${LogLines} lines=${lines} version=${version} added=${added} isFollowing=${!wanted.fromStart} isGang=${trial.slots > 1} search=${wanted.search.toLowerCase()}
        onTop=${() => output?.older()} onEnd=${() => output?.newer()} />
      ${isEmpty && html`<p class="soft overlay">${wanted.search ? "No line has that in it." : state === "ended" ? "This trial wrote nothing." : state === "past" ? "Nothing was written by then." : "Nothing written yet."}</p>`}
    </div>
  </section>`;
}

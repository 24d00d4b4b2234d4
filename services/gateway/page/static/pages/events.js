/** The event stream: the log as it grows, filtered; each event opens to its fields and its causes. */
import { get } from "../api.js";
import { commandLine } from "../command_line.js";
import { Command } from "../components/command.js";
import { Seals } from "../components/seals.js";
import { EventCard, EventTable } from "../components/event_table.js";
import { Failure, Loading } from "../components/notice.js";
import { formatCount } from "../format.js";
import { connected, listen } from "../live.js";
import { moment, momentSeq } from "../moment.js";
import { linkToEvents } from "../router.js";
import { MOST_ROWS, matches, merge, readBack } from "../tape.js";
import { html, useEffect, useMemo, useRef, useState } from "../view.js";

const FILTERS = [
  { name: "experiment", title: "Experiment", example: "k3f9x2ab" },
  { name: "trial", title: "Trial", example: "k3f9x2ab-7" },
  { name: "name", title: "Event", example: "GPUAllocated" },
  { name: "writer", title: "Writer", example: "scheduler" },
  { name: "since", title: "Since", example: "2026-01-31T12:00:00Z" },
];

const tapCommand = (filters) =>
  commandLine("tap", [], Object.fromEntries(FILTERS.map(({ name }) => [`--${name}`, filters[name] || null])));

/** The form keeps what is being typed to itself until it is submitted: events that come meanwhile draw the page anew. */
function Filters({ filters, rows, onChange }) {
  const [draft, setDraft] = useState(filters);
  useEffect(() => setDraft(filters), [filters]);
  const onSubmit = (submit) => {
    submit.preventDefault();
    onChange(draft);
  };
  const seen = (name) => [...new Set(rows.map((row) => row[name]))].sort();
  return html`<form class="bar filters" role="search" aria-label="Filter events" onSubmit=${onSubmit}>
    ${FILTERS.map(
      ({ name, title, example }) => html`<label key=${name}>${title}
      <input type="search" name=${name} value=${draft[name]} placeholder=${example} list=${`seen-${name}`} spellcheck="false" autocomplete="off"
        onInput=${(input) => setDraft({ ...draft, [name]: input.target.value.trim() })} />
    </label>`,
    )}
    ${["name", "writer"].map((name) => html`<datalist key=${name} id=${`seen-${name}`}>
      ${seen(name).map((value) => html`<option key=${value} value=${value} />`)}
    </datalist>`)}
    <button type="submit">Filter</button>
    ${Object.values(filters).some(Boolean) && html`<a href="#/events">Clear</a>`}
  </form>`;
}

const START = { rows: [], held: [], lowest: null, error: null, isReading: true };

/** The rows for these filters: what is there, and what comes while nobody paused. */
function useTape(filters, isPaused) {
  const [tape, setTape] = useState(START);
  const [attempt, setAttempt] = useState(0);
  const paused = useRef(isPaused);
  paused.current = isPaused;
  const look = (until, signal) => {
    setTape((old) => ({ ...old, isReading: true, error: null }));
    return readBack(filters, until, signal).then(
      ({ rows, lowest }) => setTape((old) => ({ ...old, rows: merge(old.rows, rows), lowest, isReading: false })),
      (error) => signal?.aborted || setTape((old) => ({ ...old, error, isReading: false })),
    );
  };
  useEffect(() => {
    setTape(START);
    const controller = new AbortController();
    const unlisten = listen((events) => {
      const fresh = (events ?? []).filter((event) => matches(event, filters));
      if (fresh.length > 0) setTape((old) => take(old, fresh, paused.current));
    });
    const fail = (error) => controller.signal.aborted || setTape((old) => ({ ...old, error, isReading: false }));
    const head = () => get("/status", { signal: controller.signal }).then(({ log }) => log.last_seq);
    (moment === null ? connected.then(head) : Promise.resolve(momentSeq)).then((seq) => look(seq, controller.signal), fail);
    return () => {
      unlisten();
      controller.abort();
    };
  }, [filters, attempt]);
  useEffect(() => {
    if (!isPaused) setTape((old) => take({ ...old, held: [] }, old.held, false));
  }, [isPaused]);
  return { ...tape, lookBack: () => look(tape.lowest), retry: () => setAttempt(attempt + 1) };
}

/** Add fresh events to the rows, or aside while paused; the oldest rows make room. */
function take(tape, fresh, isPaused) {
  if (isPaused) return { ...tape, held: merge(fresh, tape.held).slice(0, MOST_ROWS) };
  const rows = merge(fresh, tape.rows);
  if (rows.length <= MOST_ROWS) return { ...tape, rows };
  const kept = rows.slice(0, MOST_ROWS);
  return { ...tape, rows: kept, lowest: kept.at(-1).seq - 1 };
}

/** The event that the address names, read by itself when it is not among the rows. */
function useNamed(seq, rows) {
  const [event, setEvent] = useState(null);
  const isListed = rows.some((row) => row.seq === seq);
  useEffect(() => {
    setEvent(null);
    if (seq === null || isListed) return undefined;
    const controller = new AbortController();
    const show = ({ items }) => setEvent(items.find((item) => item.seq === seq) ?? null);
    get("/events", { parameters: { after: seq - 1, limit: 1 }, signal: controller.signal }).then(show, () =>
      setEvent(null),
    );
    return () => controller.abort();
  }, [seq, isListed]);
  return isListed ? null : event;
}

function Older({ tape }) {
  if (tape.isReading) return html`<${Loading} what="events" />`;
  if (tape.lowest === 0 || tape.lowest === null) return html`<p class="soft">This is the beginning of the log.</p>`;
  return html`<p>
    <button type="button" onClick=${tape.lookBack}>Look further back</button>${" "}
    <span class="soft">seen back to event ${formatCount(tape.lowest + 1)}</span>
  </p>`;
}

export function Events({ query }) {
  const [isPaused, setPaused] = useState(false);
  const key = FILTERS.map(({ name }) => query[name] ?? "").join(" ");
  const filters = useMemo(() => Object.fromEntries(FILTERS.map(({ name }) => [name, query[name] ?? ""])), [key]);
  const seq = /^[1-9]\d*$/.test(query.seq ?? "") ? Number(query.seq) : null;
  const tape = useTape(filters, isPaused);
  const named = useNamed(seq, tape.rows);
  const onOpen = (chosen) => location.replace(linkToEvents({ ...filters, seq: chosen }));
  const isFiltered = Object.values(filters).some(Boolean);
  const isEmpty = tape.rows.length === 0 && !tape.isReading && !tape.error;
  return html`
    <h1>Events</h1>
    ${moment === null && html`<${Seals} />`}
    <p class="soft">Everything that happens is a fact on the log: who wrote it, and because of which earlier facts. Newest first.</p>
    <${Filters} filters=${filters} rows=${tape.rows} onChange=${(next) => location.assign(linkToEvents(next))} />
    <div class="bar">${moment === null && html`
      <button type="button" aria-pressed=${isPaused} onClick=${() => setPaused(!isPaused)}>${isPaused ? "Go on" : "Pause"}</button>
      <span class="soft" role="status">${isPaused ? `paused, ${tape.held.length} new` : "live"}</span>`}
      <${Command} text=${tapCommand(filters)} />
    </div>
    ${named && html`<${EventCard} event=${named} onClose=${() => onOpen(null)} />`}
    ${tape.error && html`<${Failure} error=${tape.error} refresh=${tape.retry} what="events" />`}
    ${isEmpty && html`<p class="notice">
      ${isFiltered ? "No event matches these filters so far." : "The log is empty."} New ones appear here by themselves.
    </p>`}
    ${tape.rows.length > 0 && html`<${EventTable} rows=${tape.rows} opened=${seq} onOpen=${onOpen} />`}
    <${Older} tape=${tape} />
  `;
}

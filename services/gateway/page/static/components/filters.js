/** What the list of experiments is narrowed to: a text, a state, a user, a place, a label; all of it in the address. */
import { useKeys } from "../keyboard.js";
import { html, useRef } from "../view.js";

const STATES = ["ACTIVE", "PAUSED", "COMPLETED", "FAILED", "CANCELED"];

/** The address of the list with these filters. */
export function linkToList(filters) {
  const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value));
  return `#/${query.size ? `?${query}` : ""}`;
}

const MOST_WORDS = 6;
const IN_TEXT = ["name", "id", "description", "searcher", "owner"];

/** What the server is asked for: each word of `q` is in the name, id, description, search method or owner. */
export function parametersOf({ q = "", state = "", user = "", workspace = "", project = "", label = "", show = "" }) {
  const exact = Object.entries({ state, owner: user, workspace, project, label }).filter(([, value]) => value).map(([field, value]) => `${field} = ${JSON.stringify(value)}`);
  const words = q.split(/\s+/).filter(Boolean).slice(0, MOST_WORDS);
  const anywhere = words.map((word) => `(${IN_TEXT.map((field) => `${field} ~ ${JSON.stringify(word)}`).join(" or ")})`);
  return { filter: [...exact, ...anywhere].join(" and "), show: show || null };
}

/** A choice among the values that the rows have ("" where one has none); left out where it would narrow nothing. */
function Choice({ name, title, value = "", values, onChange }) {
  const seen = new Set(values);
  if (seen.size < 2 && !value) return null;
  const options = [...seen.add(value)].filter(Boolean);
  return html`<label><span class="unseen">${title}</span><select name=${name} value=${value} onChange=${(change) => onChange(change.target.value)}>
    <option value="">${title}</option>${options.map((each) => html`<option key=${each} value=${each}>${name === "state" ? each.toLowerCase() : each}</option>`)}</select></label>`;
}

export function Filters({ filters, rows }) {
  const search = useRef(null);
  const set = (changes) => location.replace(linkToList({ ...filters, ...changes }));
  const had = (pick) => rows.flatMap(pick).sort();
  useKeys([
    { key: "/", does: "search", run: () => search.current.focus() },
    { key: "Escape", does: "leave the search", run: () => search.current.blur() },
  ]);
  return html`<div class="bar" role="search">
    <input ref=${search} type="search" class="search" aria-label="Search experiments" placeholder="Search  /" value=${filters.q ?? ""} spellcheck="false"
      onInput=${(input) => set({ q: input.target.value.trimStart() })} onKeyDown=${(press) => press.key === "Escape" && search.current.blur()} />
    <${Choice} name="state" title="Any state" value=${filters.state} values=${STATES} onChange=${(state) => set({ state })} />
    <${Choice} name="user" title="Anybody's" value=${filters.user} values=${had(({ owner }) => owner)} onChange=${(user) => set({ user })} />
    <${Choice} name="workspace" title="Any workspace" value=${filters.workspace} values=${had(({ workspace }) => workspace)} onChange=${(workspace) => set({ workspace, project: "" })} />
    <${Choice} name="project" title="Any project" value=${filters.project} values=${had(({ project }) => project)} onChange=${(project) => set({ project })} />
    <${Choice} name="label" title="Any label" value=${filters.label} values=${had(({ labels }) => (labels.length > 0 ? labels : [""]))} onChange=${(label) => set({ label })} />
    <label><input type="checkbox" checked=${filters.show === "archived"} onChange=${(change) => set({ show: change.target.checked ? "archived" : "" })} /> archived ones</label>
    ${Object.values(filters).some(Boolean) && html`<a href="#/">Show all</a>`}
  </div>`;
}

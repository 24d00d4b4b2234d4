/** What the list of experiments is narrowed to: a text, a state, a user, a label; all of it in the address. */
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
export function parametersOf({ q = "", state = "", user = "", label = "", show = "" }) {
  const exact = [["state", state], ["owner", user], ["label", label]].filter(([, value]) => value).map(([field, value]) => `${field} = ${JSON.stringify(value)}`);
  const words = q.split(/\s+/).filter(Boolean).slice(0, MOST_WORDS);
  const anywhere = words.map((word) => `(${IN_TEXT.map((field) => `${field} ~ ${JSON.stringify(word)}`).join(" or ")})`);
  return { filter: [...exact, ...anywhere].join(" and "), show: show || null };
}

function Choice({ name, title, value, options, onChange }) {
  if (options.length < 2 && !value) return null;
  return html`<label><span class="unseen">${title}</span><select name=${name} value=${value} onChange=${(change) => onChange(change.target.value)}>
    <option value="">${title}</option>${options.map((each) => html`<option key=${each} value=${each}>${name === "state" ? each.toLowerCase() : each}</option>`)}</select></label>`;
}

export function Filters({ filters, rows }) {
  const search = useRef(null);
  const set = (changes) => location.replace(linkToList({ ...filters, ...changes }));
  useKeys([
    { key: "/", does: "search", run: () => search.current.focus() },
    { key: "Escape", does: "leave the search", run: () => search.current.blur() },
  ]);
  const seen = (values) => [...new Set(values.filter(Boolean))].sort();
  return html`<div class="bar" role="search">
    <input ref=${search} type="search" class="search" aria-label="Search experiments" placeholder="Search  /" value=${filters.q ?? ""} spellcheck="false"
      onInput=${(input) => set({ q: input.target.value.trimStart() })} onKeyDown=${(press) => press.key === "Escape" && search.current.blur()} />
    <${Choice} name="state" title="Any state" value=${filters.state ?? ""} options=${STATES} onChange=${(state) => set({ state })} />
    <${Choice} name="user" title="Anybody's" value=${filters.user ?? ""} options=${seen([filters.user, ...rows.map(({ owner }) => owner)])} onChange=${(user) => set({ user })} />
    <${Choice} name="label" title="Any label" value=${filters.label ?? ""} options=${seen([filters.label, ...rows.flatMap(({ labels }) => labels)])} onChange=${(label) => set({ label })} />
    <label><input type="checkbox" checked=${filters.show === "archived"} onChange=${(change) => set({ show: change.target.checked ? "archived" : "" })} /> archived ones</label>
    ${Object.values(filters).some(Boolean) && html`<a href="#/">Show all</a>`}
  </div>`;
}

/** The keys that work on this page, in a dialog that `?` opens. */
import { activeKeys, useKeys, watchKeys } from "../keyboard.js";
import { html, useEffect, useRef, useState } from "../view.js";

const NAMES = { "/": "/", Enter: "Enter", Escape: "Esc" };

function Keys({ onClose }) {
  const dialog = useRef(null);
  const [keys, setKeys] = useState(activeKeys);
  useEffect(() => dialog.current.showModal(), []);
  useEffect(() => watchKeys(() => setKeys(activeKeys())), []);
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="keys-title">
    <h2 id="keys-title">Keys on this page</h2>
    <dl class="keys">${keys.map(
      ({ key, does }) => html`<div key=${`${key} ${does}`}><dt><kbd>${NAMES[key] ?? key}</kbd></dt><dd>${does}</dd></div>`,
    )}</dl>
    <div class="buttons"><button type="button" onClick=${() => dialog.current.close()}>Close</button></div>
  </dialog>`;
}

const ROOMS = [
  ["1", "experiments", "#/"],
  ["2", "cluster", "#/cluster"],
  ["3", "events", "#/events"],
];

export function Help() {
  const [isOpen, setOpen] = useState(false);
  useKeys([
    { key: "?", does: "show these keys", run: () => setOpen(true) },
    ...ROOMS.map(([key, name, href]) => ({ key, does: `go to ${name}`, run: () => location.assign(href) })),
  ]);
  return html`
    <button type="button" class="quiet help" aria-label="Keys on this page" title="Keys on this page (?)" onClick=${() => setOpen(true)}>?</button>
    ${isOpen && html`<${Keys} onClose=${() => setOpen(false)} />`}
  `;
}

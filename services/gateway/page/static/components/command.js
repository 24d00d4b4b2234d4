/** A command line to copy: everything the page does, the `tm` command does too. */
import { html, useRef, useState } from "../view.js";

const SAID_MS = 1500;

/** Copies a text; where the browser offers no clipboard (plain http to another host), selects it instead. */
async function copy(text, element) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return "Copied";
  }
  getSelection().selectAllChildren(element);
  return "Selected";
}

export function Command({ text }) {
  const code = useRef(null);
  const [said, setSaid] = useState(null);
  const onClick = async () => {
    setSaid(await copy(text, code.current).catch(() => "Not allowed"));
    setTimeout(() => setSaid(null), SAID_MS);
  };
  return html`<span class="command">
    <code ref=${code}>${text}</code>
    <button type="button" class="quiet" onClick=${onClick} aria-label=${`Copy: ${text}`}>${said ?? "Copy"}</button>
    <span class="unseen" role="status">${said}</span>
  </span>`;
}

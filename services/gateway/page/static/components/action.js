/** Buttons that change something: asked back first, with the same thing as a command. */
import { post } from "../api.js";
import { advance } from "../live.js";
import { html, useEffect, useRef, useState } from "../view.js";
import { Command } from "./command.js";

/** The dialog that asks back, does it, and stays open with the reason when it is refused. */
function Confirmation({ title, explanation, command, verb, path, onClose, onDone }) {
  const dialog = useRef(null);
  const [refusal, setRefusal] = useState(null);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => dialog.current.showModal(), []);
  const act = async () => {
    setBusy(true);
    try {
      advance(await post(path));
      onDone();
      dialog.current.close();
    } catch (error) {
      setRefusal(error.message);
      setBusy(false);
    }
  };
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="confirmation-title">
    <h2 id="confirmation-title">${title}</h2>
    <p>${explanation}</p>
    <p class="same">The same on the command line: <${Command} text=${command} /></p>
    ${refusal && html`<p class="failure" role="alert">${refusal}</p>`}
    <div class="buttons">
      <button type="button" onClick=${() => dialog.current.close()}>Leave it</button>
      <button type="button" class="strong" disabled=${isBusy} onClick=${act}>${verb}</button>
    </div>
  </dialog>`;
}

/** A button that opens the confirmation of `action`: {verb, title, explanation, command, path}. */
export function Action({ action, onDone }) {
  const [isAsking, setAsking] = useState(false);
  return html`
    <button type="button" onClick=${() => setAsking(true)}>${action.verb}…</button>
    ${isAsking && html`<${Confirmation} ...${action} onDone=${onDone} onClose=${() => setAsking(false)} />`}
  `;
}

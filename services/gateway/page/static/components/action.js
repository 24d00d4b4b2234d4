/** Buttons that change something: asked back first, with the same thing as a command. */
import { advance } from "../live.js";
import { moment } from "../moment.js";
import { html, useEffect, useRef, useState } from "../view.js";
import { Command } from "./command.js";

/** The dialog that asks back, does it, and stays open with the reason when it is refused. */
export function Confirmation({ title, explanation, command, verb, run, children, onClose, onDone }) {
  const dialog = useRef(null);
  const [refusal, setRefusal] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const [said, setSaid] = useState(typeof command === "string" ? command : null);
  const form = useRef(null);
  const tell = () => typeof command === "function" && setSaid(command(new FormData(form.current)));
  useEffect(() => {
    dialog.current.showModal();
    tell();
  }, []);
  const act = async (submit) => {
    submit.preventDefault();
    setBusy(true);
    try {
      const seq = await run(new FormData(submit.target));
      advance(seq);
      dialog.current.close();
      onDone?.(seq);
    } catch (error) {
      setRefusal(error.message);
      setBusy(false);
    }
  };
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="confirmation-title"><form ref=${form} onSubmit=${act} onInput=${tell}>
    <h2 id="confirmation-title">${title}</h2>
    <p>${explanation}</p>
    ${children}
    ${said && html`<p class="same">The same on the command line: <${Command} text=${said} /></p>`}
    ${refusal && html`<p class="failure" role="alert">${refusal}</p>`}
    <div class="buttons">
      <button type="button" onClick=${() => dialog.current.close()}>Leave it</button>
      <button type="submit" class="strong" disabled=${isBusy}>${verb}</button>
    </div>
  </form></dialog>`;
}

/** A button that opens the confirmation of `action`: {verb, title, explanation, command, run(form) -> sequence, fields}.
 *
 * `command` is a text, or where the dialog asks for something, what that text is for a FormData.
 */
export function Action({ action, onDone, className = "" }) {
  const [isAsking, setAsking] = useState(false);
  if (moment !== null) return null; // the past cannot be changed
  return html`
    <button type="button" class=${className} onClick=${() => setAsking(true)}>${action.verb}…</button>
    ${isAsking && html`<${Confirmation} ...${action} onDone=${onDone} onClose=${() => setAsking(false)}>${action.fields}<//>`}
  `;
}

/** What people note on an experiment: written here, kept on the log. */
import { send, to } from "../api.js";
import { commandLine } from "../command_line.js";
import { html } from "../view.js";
import { Action } from "./action.js";

const edit = ({ id, name, notes }) => ({
  verb: notes ? "Edit" : "Write a note",
  title: `Notes on ${name}`,
  explanation: "For whoever looks at this experiment later. The notes before stay on the log.",
  command: (form) => commandLine("note", [id, [form.get("notes"), "TEXT"]]),
  fields: html`<p><label class="whole"><span class="unseen">Notes</span><textarea name="notes" rows="8" maxlength="65536">${notes}</textarea></label></p>`,
  run: (form) => send("PATCH", to`/experiments/${id}`, { notes: form.get("notes") }).then(({ seq }) => seq),
});

export function Notes({ experiment, onDone }) {
  return html`<section aria-labelledby="notes-title">
    <header class="bar"><h2 id="notes-title">Notes</h2><${Action} action=${edit(experiment)} onDone=${onDone} className="quiet" /></header>
    ${experiment.notes ? html`<p class="notes">${experiment.notes}</p>` : html`<p class="soft">None yet.</p>`}
  </section>`;
}

/** The workspaces: where teams keep their experiments, opened and closed. */
import { post, to } from "../api.js";
import { commandLine } from "../command_line.js";
import { formatCount } from "../format.js";
import { usePath } from "../resource.js";
import { html } from "../view.js";
import { Action } from "./action.js";
import { Shown } from "./notice.js";
import { Table } from "./table.js";
import { Age } from "./time.js";

const create = {
  verb: "Add a workspace",
  title: "Add a workspace",
  explanation: "Experiment files name it in `workspace`; roles and limits may be given for it.",
  command: (form) => commandLine("workspace create", [[form.get("name"), "NAME"]], { "--description": form.get("description") || null }),
  fields: html`<p><label>Name <input type="text" name="name" required maxlength="256" /></label></p><p><label>for what <input type="text" name="description" /></label></p>`,
  run: (form) => post("/workspaces", { name: form.get("name"), description: form.get("description") }),
};

function fileOf({ id, name, archived }) {
  const word = archived ? "unarchive" : "archive";
  return {
    verb: archived ? "Unarchive" : "Archive",
    title: `${archived ? "Open" : "Close"} ${name}${archived ? " again" : ""}?`,
    explanation: archived ? "Experiments can be submitted and moved into it again." : "No experiment is submitted or moved into it any more; those there stay.",
    command: commandLine(`workspace ${word}`, [name]),
    run: () => post(to`/workspaces/${id}/` + word),
  };
}

const columns = (onDone) => [
  { name: "name", title: "Workspace", value: (row) => row.name, cell: (row) => html`${row.name || html`<span class="soft">none named</span>`} <span class="soft">${row.description}</span>${row.archived && html` <span class="label">archived</span>`}` },
  { name: "experiments", title: "Experiments", class: "number", value: (row) => row.experiments, cell: (row) => formatCount(row.experiments) },
  { name: "projects", title: "Projects", class: "number", value: (row) => row.projects, cell: (row) => formatCount(row.projects) },
  { name: "created", title: "Since", cell: (row) => html`<${Age} at=${row.created_at} />` },
  { name: "actions", title: html`<span class="unseen">Change</span>`, class: "actions", cell: (row) => html`<${Action} action=${fileOf(row)} className="quiet" onDone=${onDone} />` },
];

export function Workspaces() {
  const workspaces = usePath("/workspaces", ({ name }) => /^(Workspace|Project|Experiment(Submitted|Moved))/.test(name));
  return html`<section aria-labelledby="workspaces-title">
    <header class="bar"><h2 id="workspaces-title">Workspaces</h2><${Action} action=${create} onDone=${workspaces.refresh} /></header>
    <${Shown} resource=${workspaces} what="workspaces">${({ items }) => items.length === 0 ? html`<p class="soft">None: all experiments are in one place.</p>` : html`<${Table} label="Workspaces" columns=${columns(workspaces.refresh)} rows=${items} rowKey=${(row) => row.id} />`}<//>
  </section>`;
}

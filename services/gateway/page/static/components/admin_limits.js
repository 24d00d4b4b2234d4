/** What workspaces are limited to: slots, and the best priority. */
import { send, urlOf } from "../api.js";
import { commandLine } from "../command_line.js";
import { formatCount } from "../format.js";
import { useAll } from "../resource.js";
import { isAdmin } from "../session.js";
import { html } from "../view.js";
import { Action } from "./action.js";
import { Shown } from "./notice.js";
import { Table } from "./table.js";

const ask = (method, parameters) => send(method, urlOf("/limits", parameters).slice("/api/v1".length)).then(({ seq }) => seq);

const nameOf = (workspace) => (workspace === null ? "each workspace" : workspace || "experiments without a workspace");

const setLimit = {
  verb: "Set a limit",
  title: "Limit a workspace, or each",
  explanation: "What runs beyond it goes on; nothing more starts.",
  command: (form) =>
    commandLine("limits set", [], {
      "--all": !form.get("workspace"),
      "--workspace": form.get("workspace") || null,
      "--max-slots": form.get("max_slots") || null,
      "--best-priority": form.get("best_priority") || null,
    }),
  fields: html`<p><label>Workspace <input type="text" name="workspace" placeholder="each" /></label></p>
    <p><label>Slots together, at most <input type="number" name="max_slots" min="0" /></label></p>
    <p><label>Lowest priority number allowed <input type="number" name="best_priority" min="1" max="99" /></label></p>`,
  run: (form) => ask("PUT", { workspace: form.get("workspace"), max_slots: form.get("max_slots"), best_priority: form.get("best_priority") }),
};

const clearOf = ({ workspace }) => ({
  verb: "Lift",
  title: `Lift the limit of ${nameOf(workspace)}?`,
  explanation: "What waits because of it may start at once.",
  command: commandLine("limits clear", [], { "--all": workspace === null, "--workspace": workspace }),
  run: () => send("DELETE", workspace === null ? "/limits" : `/limits?workspace=${encodeURIComponent(workspace)}`).then(({ seq }) => seq),
});

const columns = (onDone) => [
  { name: "workspace", title: "Of", cell: (row) => nameOf(row.workspace) },
  { name: "max_slots", title: "Slots", class: "number", cell: (row) => (row.max_slots === null ? "any" : formatCount(row.max_slots)) },
  { name: "held", title: "Held now", class: "number", cell: (row) => row.held ?? "–" },
  { name: "priority", title: "Best priority", class: "number", cell: (row) => row.best_priority ?? "any" },
  { name: "actions", title: html`<span class="unseen">Change</span>`, class: "actions", cell: (row) => isAdmin() && html`<${Action} action=${clearOf(row)} className="quiet" onDone=${onDone} />` },
];

export function Limits() {
  const limits = useAll("/limits", ({ name }) => /^(Limit|GPU)/.test(name));
  return html`<section aria-labelledby="limits-title">
    <header class="bar"><h2 id="limits-title">Limits</h2>${isAdmin() && html`<${Action} action=${setLimit} onDone=${limits.refresh} />`}</header>
    <${Shown} resource=${limits} what="limits">${({ items }) => items.length === 0 ? html`<p class="soft">None: every workspace may have all slots.</p>` : html`<${Table} label="Limits" columns=${columns(limits.refresh)} rows=${items} rowKey=${(row) => `${row.workspace}`} />`}<//>
  </section>`;
}

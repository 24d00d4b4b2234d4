/** The queue: who waits, for what, since when; and moving an experiment in it. */
import { send, to, urlOf } from "../api.js";
import { commandLine } from "../command_line.js";
import { formatCount } from "../format.js";
import { link } from "../router.js";
import { html } from "../view.js";
import { Action } from "./action.js";
import { Table } from "./table.js";
import { Age, Time } from "./time.js";

const change = (id, parameters) => send("POST", urlOf(to`/experiments/${id}/queue`, parameters).slice("/api/v1".length)).then(({ seq }) => seq);

/** Moving an experiment: ahead of or behind another one, or to a priority. */
function moveOf(row, others) {
  return {
    verb: "Move",
    title: `Move ${row.experiment_name} in the queue`,
    explanation: "All its waiting trials move. Running trials are asked to stop only where the pool preempts.",
    command: (form) =>
      form.get("other")
        ? commandLine("move", [row.experiment_id], { [form.get("where") === "behind" ? "--behind" : "--ahead-of"]: form.get("other") })
        : commandLine("change", [row.experiment_id], { "--priority": form.get("priority") || String(row.priority ?? 42) }),
    fields: html`
      ${others.length > 0 && html`<p><label>Directly <select name="where"><option value="ahead_of">ahead of</option><option value="behind">behind</option></select></label>${" "}
        <label><span class="unseen">which experiment</span><select name="other"><option value="">–</option>${others.map((other) => html`<option key=${other.experiment_id} value=${other.experiment_id}>${other.experiment_name} ${other.experiment_id}</option>`)}</select></label></p>`}
      <p><label>or with priority <input name="priority" type="number" min="1" max="99" placeholder=${row.priority ?? ""} /></label> <span class="soft small">lower goes first</span></p>`,
    run: (form) => {
      const other = form.get("other");
      return change(row.experiment_id, other ? { [form.get("where")]: other } : { priority: form.get("priority") });
    },
  };
}

function columnsOf(items, onDone) {
  const experiments = [...new Map(items.map((row) => [row.experiment_id, row])).values()];
  const others = (row) => experiments.filter((each) => each.experiment_id !== row.experiment_id && each.pool === row.pool);
  return [
    { name: "position", title: "#", class: "number", cell: (row) => row.position },
    { name: "trial", title: "Trial", cell: (row) => html`<a href=${link("trials", row.trial_id)}>trial ${row.trial_id.split("-").at(-1)}</a>` },
    { name: "experiment", title: "Experiment", cell: (row) => html`<a href=${link("experiments", row.experiment_id)}>${row.experiment_name}</a>` },
    { name: "slots", title: "Slots", class: "number", cell: (row) => row.slots },
    { name: "pool", title: "Pool", cell: (row) => row.pool },
    { name: "priority", title: "Priority", class: "number", cell: (row) => row.priority ?? "–" },
    { name: "since", title: "Waiting since", cell: (row) => html`<${Age} at=${row.waiting_since} />` },
    {
      name: "expected",
      title: "Expected start",
      cell: (row) =>
        row.expected_start
          ? html`<span title=${row.expected_why}><${Time} at=${row.expected_start} /></span>`
          : html`<span class="soft" title=${row.expected_why}>not known</span>`,
    },
    { name: "reason", title: "Why it waits", class: "text", cell: (row) => row.reason },
    { name: "move", title: html`<span class="unseen">Move</span>`, class: "actions", cell: (row) => html`<${Action} action=${moveOf(row, others(row))} className="quiet" onDone=${onDone} />` },
  ];
}

export function Queue({ items, num_waiting: total, position, onDone }) {
  if (items.length === 0) return html`<p class="soft">Nothing waits: every trial that was asked for has its slots.</p>`;
  return html`
    ${position === null && html`<p class="bad-text">The scheduler does not answer: order and reasons are not known.</p>`}
    <${Table} label="Queue" columns=${columnsOf(items, onDone)} rows=${items} rowKey=${(row) => row.trial_id} />
    ${total > items.length && html`<p class="soft">The first ${formatCount(items.length)} of ${formatCount(total)}; all: <code>tm queue</code></p>`}
  `;
}

/** Opening and closing agents and slots: drain, disable, enable. */
import { send, to, urlOf } from "../api.js";
import { html } from "../view.js";

const ask = (id, word, parameters) => send("POST", urlOf(to`/agents/${id}/` + word, parameters).slice("/api/v1".length)).then(({ seq }) => seq);

const Grace = html`<p><label>What runs there stops after <input name="grace" type="number" min="0" step="1" placeholder="never" /> seconds</label></p>`;

/** What can be done with an agent, or (with `slot`, a number) with one of its slots. */
export function agentActions(agent, slot = null) {
  const { availability } = slot === null ? agent : agent.slots.find(({ number }) => number === slot);
  const what = slot === null ? agent.id : `slot ${slot} of ${agent.id}`;
  const option = slot === null ? "" : ` --slot ${slot}`;
  const of = { slots: slot };
  const drain = {
    verb: "Drain",
    title: `Drain ${what}?`,
    explanation: "It gets no new work. What runs there goes on to its end, or stops with a checkpoint when the time given is over.",
    command: `tm agents drain ${agent.id}${option}`,
    fields: Grace,
    run: (form) => ask(agent.id, "drain", { ...of, grace_s: form.get("grace") }),
  };
  const disable = {
    verb: "Disable",
    title: `Disable ${what}?`,
    explanation: "What runs there saves a checkpoint, stops at once and waits for other slots; no new work comes.",
    command: `tm agents disable ${agent.id}${option}`,
    run: () => ask(agent.id, "disable", of),
  };
  const enable = {
    verb: "Enable",
    title: `Enable ${what}?`,
    explanation: "It takes work again.",
    command: `tm agents enable ${agent.id}${option}`,
    run: () => ask(agent.id, "enable", of),
  };
  return availability === "ENABLED" ? [drain, disable] : availability === "DRAINING" ? [enable, disable] : [enable];
}

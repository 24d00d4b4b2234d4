/** Opening and closing agents and slots: drain, disable, enable. */
import { send, to, urlOf } from "../api.js";
import { commandLine } from "../command_line.js";
import { html } from "../view.js";

const ask = (id, word, parameters) => send("POST", urlOf(to`/agents/${id}/` + word, parameters).slice("/api/v1".length)).then(({ seq }) => seq);

const Grace = html`<p><label>What runs there stops after <input name="grace" type="number" min="0" step="1" placeholder="never" /> seconds</label></p>`;

const nameOf = (agent, slot) => (slot === null ? agent.id : `slot ${slot} of ${agent.id}`);
const optionOf = (slot) => (slot === null ? "" : ` --slot ${slot}`);

/** Letting an agent or a slot take work again, also one whose GPU was found unhealthy. */
export const enableOf = (agent, slot = null) => ({
  verb: "Enable",
  title: `Enable ${nameOf(agent, slot)}?`,
  explanation: "It takes work again.",
  command: `tm agents enable ${agent.id}${optionOf(slot)}`,
  run: () => ask(agent.id, "enable", { slots: slot }),
});

/** What can be done with an agent, or (with `slot`, a number) with one of its slots. */
export function agentActions(agent, slot = null) {
  const { availability, unhealthy } = slot === null ? agent : agent.slots.find(({ number }) => number === slot);
  const [what, option] = [nameOf(agent, slot), optionOf(slot)];
  const of = { slots: slot };
  const drain = {
    verb: "Drain",
    title: `Drain ${what}?`,
    explanation: "It gets no new work. What runs there goes on to its end, or stops with a checkpoint when the time given is over.",
    command: (form) => commandLine("agents drain", [agent.id], { "--slot": slot, "--grace": form.get("grace") ? `${form.get("grace")}s` : null }),
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
  const enable = enableOf(agent, slot);
  if (availability === "ENABLED") return unhealthy ? [enable, drain, disable] : [drain, disable];
  return availability === "DRAINING" ? [enable, disable] : [enable];
}

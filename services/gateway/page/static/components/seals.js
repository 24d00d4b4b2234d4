/** How far the log is sealed, and whether it is still what was sealed: verified here when asked. */
import { get } from "../api.js";
import { formatCount } from "../format.js";
import { useResource } from "../resource.js";
import { linkToEvents } from "../router.js";
import { html, useState } from "../view.js";
import { Command } from "./command.js";
import { Time } from "./time.js";

/** The newest seal: looked for backwards from the head, a stretch at a time. */
async function newestSeal(options) {
  const { log } = await get("/status", options);
  let after = 0;
  let newest = null;
  for (;;) {
    const page = await get("/events", { ...options, parameters: { name: "AuditSealed", writer: "tracker", after, limit: 1000 } });
    newest = page.items.at(-1) ?? newest;
    if (page.at_head) return { newest, head: log.last_seq };
    after = page.next_after;
  }
}

function Report({ report }) {
  return html`<div class="notice ${report.ok ? "" : "failure"}" role="status">
    <h3>${report.ok ? "Nothing was changed" : "It was tampered with, or damaged"}</h3>
    <p>${formatCount(report.events)} events compared with ${formatCount(report.seals)} good ${report.seals === 1 ? "seal" : "seals"}; sealed up to event ${formatCount(report.sealed)}, ${formatCount(report.unsealed)} after it.</p>
    ${report.findings.map(({ kind, text }, number) => html`<p key=${number}><strong>${kind}</strong> ${text}</p>`)}
    <p class="soft small">Root <code>${report.root}</code>${report.public_keys.map((key) => html`, signed with <code key=${key}>${key}</code>`)}. The key of the first seal is trusted here; to trust only a key that you keep yourself: <code>tm audit verify --key audit.pub</code></p>
  </div>`;
}

export function Seals() {
  const { data } = useResource("the newest seal", newestSeal, ({ name }) => name === "AuditSealed");
  const [report, setReport] = useState(null);
  const [state, setState] = useState("idle");
  const verify = async () => {
    setState("busy");
    try {
      setReport(await get("/audit"));
      setState("idle");
    } catch (error) {
      setState(error.message);
    }
  };
  const seal = data?.newest;
  return html`<section class="seals" aria-label="Seals">
    <div class="bar"><span>${seal ? html`Sealed up to event <a href=${linkToEvents({ seq: seal.seq })}>${formatCount(seal.event.last)}</a> <span class="soft">at <${Time} at=${seal.time} /></span>` : data && html`<span class="soft">Not sealed yet: the first seal comes within a minute.</span>`}</span>
      <button type="button" disabled=${state === "busy"} onClick=${verify}>${state === "busy" ? "Verifying…" : "Verify now"}</button>
      <${Command} text="tm audit verify" /></div>
    ${!["idle", "busy"].includes(state) && html`<p class="bad-text" role="alert">${state}</p>`}
    ${report && html`<${Report} report=${report} />`}
  </section>`;
}

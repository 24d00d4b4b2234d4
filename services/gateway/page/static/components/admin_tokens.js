/** Tokens of programs: issued (and shown that once), ended. */
import { send, to } from "../api.js";
import { commandLine } from "../command_line.js";
import { formatCount } from "../format.js";
import { useAll } from "../resource.js";
import { isAdmin } from "../session.js";
import { html, useState } from "../view.js";
import { Action } from "./action.js";
import { ROLES } from "./admin_users.js";
import { Shown } from "./notice.js";
import { Table } from "./table.js";
import { Age, Time } from "./time.js";

const createToken = (onIssued) => ({
  verb: "Issue a token",
  title: "Issue a token",
  explanation: "For a program: it gives it as TM_TOKEN, or in the header Authorization: Bearer. It may what you may, and no more than its role says. One of yours ends with this login at the latest; one that lasts is a service account's, or issued after tm login.",
  command: (form) => commandLine("token create", [[form.get("label"), "LABEL"]], { "--role": form.get("role"), "--days": form.get("days") || null, "--user": form.get("user") || null }),
  fields: html`<p><label>For what <input type="text" name="label" required maxlength="100" placeholder="nightly sweeps" /></label></p>
    <p><label>at most <select name="role">${ROLES.map((role) => html`<option key=${role} value=${role} selected=${role === "editor"}>${role}</option>`)}</select></label>
      <label>for <input type="number" name="days" min="1" max="3650" value="90" /> days</label></p>
    ${isAdmin() && html`<p><label>of service account <input type="text" name="user" placeholder="yours" /></label></p>`}`,
  run: async (form) => {
    const wanted = { label: form.get("label"), role: form.get("role"), days: form.get("days") ? Number(form.get("days")) : null, ...(form.get("user") ? { user: form.get("user") } : {}) };
    const { seq, answer } = await send("POST", "/tokens", wanted);
    onIssued(answer);
    return seq;
  },
});

const revokeOf = (token) => ({
  verb: "Revoke",
  title: `Revoke the token “${token.label}”?`,
  explanation: "Programs that use it are refused at once.",
  command: `tm token revoke ${token.token_id}`,
  run: async () => (await send("DELETE", to`/tokens/${token.token_id}`)).seq,
});

const columns = (onDone) => [
  { name: "label", title: "Token", value: (row) => row.label, cell: (row) => html`${row.label} <span class="soft mono">${row.token_id}</span>` },
  { name: "user", title: "Of", value: (row) => row.user_id, cell: (row) => row.user_id },
  { name: "role", title: "At most", cell: (row) => row.role },
  { name: "issued", title: "Issued", value: (row) => row.issued_at, cell: (row) => html`<${Age} at=${row.issued_at} />` },
  { name: "expires", title: "Ends", value: (row) => row.expires_at, cell: (row) => (row.expires_at ? html`<${Time} at=${row.expires_at} />` : "never") },
  { name: "actions", title: html`<span class="unseen">Change</span>`, class: "actions", cell: (row) => html`<${Action} action=${revokeOf(row)} className="quiet" onDone=${onDone} />` },
];

const LOGIN = "login of a browser"; // as the gateway labels what a login issues

function Issued({ items, onDone }) {
  const programs = items.filter(({ label }) => label !== LOGIN);
  const logins = items.filter(({ label }) => label === LOGIN);
  const table = (label, rows) => html`<${Table} label=${label} columns=${columns(onDone)} rows=${rows} rowKey=${(row) => row.token_id} />`;
  return html`
    ${programs.length === 0 ? html`<p class="soft">None. A program that talks to Trainmaster from elsewhere needs one.</p>` : table("Tokens", programs)}
    ${logins.length > 0 && html`<details><summary>${formatCount(logins.length)} ${logins.length === 1 ? "login of a browser" : "logins of browsers"}</summary>${table("Logins", logins)}</details>`}`;
}

export function Tokens() {
  const tokens = useAll("/tokens", ({ name }) => name.startsWith("Token"));
  const [issued, setIssued] = useState(null);
  return html`<section aria-labelledby="tokens-title">
    <header class="bar"><h2 id="tokens-title">Tokens</h2><${Action} action=${createToken(setIssued)} onDone=${tokens.refresh} /></header>
    ${issued && html`<div class="notice" role="status"><h3>Copy it now: it is shown this once</h3><p><code class="secret">${issued.token}</code></p><button type="button" class="quiet" onClick=${() => setIssued(null)}>I have it</button></div>`}
    <${Shown} resource=${tokens} what="tokens">${({ items }) => html`<${Issued} items=${items} onDone=${tokens.refresh} />`}<//>
  </section>`;
}

/** The users: who they are, what they may do and where; made known, let in, kept out. */
import { post, send, to } from "../api.js";
import { commandLine } from "../command_line.js";
import { useAll } from "../resource.js";
import { html } from "../view.js";
import { Action } from "./action.js";
import { Shown } from "./notice.js";
import { Table } from "./table.js";
import { Age } from "./time.js";

export const ROLES = ["viewer", "editor", "operator", "admin"];
const USER_EVENTS = /^(User|Role|Password)/;

const placed = (workspace) => (workspace === null ? "everywhere" : `in ${workspace || "no workspace"}`);

const RoleFields = html`
  <p><label>Role <select name="role">${ROLES.map((role) => html`<option key=${role} value=${role}>${role}</option>`)}</select></label>
    <label>in workspace <input type="text" name="workspace" placeholder="everywhere" /></label></p>`;

const createUser = {
  verb: "Add a user",
  title: "Add a user",
  explanation: "Somebody new, with a first role. Give a password as well, or let them use tokens.",
  command: (form) =>
    commandLine("user create", [[form.get("name"), "NAME"]], {
      "--full-name": form.get("full_name") || null,
      "--service": form.has("is_service"),
      "--role": form.get("role"),
      "--workspace": form.get("workspace") || null,
    }),
  fields: html`<p><label>Name <input type="text" name="name" required /></label><label>full name <input type="text" name="full_name" /></label></p>
    <p><label><input type="checkbox" name="is_service" /> a program's account: tokens, no password</label></p>
    <p><label>Password <input type="password" name="password" autocomplete="new-password" /></label></p>${RoleFields}`,
  run: async (form) => {
    const name = form.get("name");
    await post("/users", { name, full_name: form.get("full_name"), is_service: form.has("is_service") });
    if (form.get("password") && !form.has("is_service")) await post(to`/users/${name}/password`, { password: form.get("password") });
    return (await send("PUT", to`/users/${name}/roles`, { role: form.get("role"), workspace: form.get("workspace") || null })).seq;
  },
};

function actionsOf(user) {
  const name = user.user_id;
  const grant = {
    verb: "Grant",
    title: `Give ${name} a role`,
    explanation: "It takes the place of the role the user has there.",
    command: (form) => commandLine("user grant", [name, form.get("role")], { "--workspace": form.get("workspace") || null }),
    fields: RoleFields,
    run: async (form) => (await send("PUT", to`/users/${name}/roles`, { role: form.get("role"), workspace: form.get("workspace") || null })).seq,
  };
  const password = {
    verb: "Password",
    title: `Set ${name}'s password`,
    explanation: "All browsers that are logged in stay so until their logins end.",
    command: `tm user password ${name}`,
    fields: html`<p><label>New password <input type="password" name="password" autocomplete="new-password" required /></label></p>`,
    run: (form) => post(to`/users/${name}/password`, { password: form.get("password") }),
  };
  const word = user.enabled ? "disable" : "enable";
  const keep = {
    verb: user.enabled ? "Disable" : "Enable",
    title: `${user.enabled ? "Keep" : "Let"} ${name} ${user.enabled ? "out" : "in again"}?`,
    explanation: user.enabled ? "At once, with all tokens and logins." : "With the roles and tokens there were.",
    command: `tm user ${word} ${name}`,
    run: () => post(to`/users/${name}/` + word),
  };
  return user.is_service ? [grant, keep] : [grant, password, keep];
}

const revokeOf = (user, { role, workspace }) => ({
  verb: "Revoke",
  title: `Take the role ${role} ${placed(workspace)} from ${user.user_id}?`,
  explanation: "It ends at once.",
  command: commandLine("user revoke", [user.user_id], { "--workspace": workspace }),
  run: async () => (await send("DELETE", to`/users/${user.user_id}/roles` + (workspace === null ? "" : `?workspace=${encodeURIComponent(workspace)}`))).seq,
});

function columns(onDone) {
  return [
    { name: "name", title: "User", value: (row) => row.user_id, cell: (row) => html`<strong>${row.user_id}</strong> <span class="soft">${row.full_name}</span>${row.is_service && html` <span class="label">service</span>`}${!row.enabled && html` <span class="label bad">disabled</span>`}` },
    {
      name: "roles",
      title: "May",
      cell: (row) => row.grants.length === 0 ? html`<span class="soft">nothing yet</span>` : row.grants.map((grant) => html`<span key=${`${grant.workspace}`} class="role">${grant.role} ${placed(grant.workspace)}<${Action} action=${revokeOf(row, grant)} className="quiet" onDone=${onDone} /></span>`),
    },
    { name: "since", title: "Since", value: (row) => row.created_at, cell: (row) => html`<${Age} at=${row.created_at} />` },
    { name: "actions", title: html`<span class="unseen">Change</span>`, class: "actions", cell: (row) => actionsOf(row).map((action) => html`<${Action} key=${action.verb} action=${action} className="quiet" onDone=${onDone} />`) },
  ];
}

export function Users() {
  const users = useAll("/users", ({ name }) => USER_EVENTS.test(name));
  return html`<section aria-labelledby="users-title">
    <header class="bar"><h2 id="users-title">Users</h2><${Action} action=${createUser} onDone=${users.refresh} /></header>
    <${Shown} resource=${users} what="users">${({ items }) => items.length === 0 ? html`<p class="soft">Nobody yet but the platform's own administrator.</p>` : html`<${Table} label="Users" columns=${columns(users.refresh)} rows=${items} rowKey=${(row) => row.user_id} />`}<//>
  </section>`;
}

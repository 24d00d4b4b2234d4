/** Administration: users and roles, tokens, workspaces, limits. */
import { Limits } from "../components/admin_limits.js";
import { Tokens } from "../components/admin_tokens.js";
import { Users } from "../components/admin_users.js";
import { Workspaces } from "../components/admin_workspaces.js";
import { isAdmin, session } from "../session.js";
import { html } from "../view.js";

export function Admin() {
  return html`
    <h1>Admin</h1>
    ${isAdmin() ? html`<${Users} />` : html`<p class="notice">Users and roles are an administrator's. You are ${session().user_id}: below are your own tokens, and the limits that you are under.</p>`}
    <${Tokens} />
    <${Workspaces} />
    <${Limits} />
  `;
}

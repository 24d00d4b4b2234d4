/** Who looks: what the page offers goes by it; what is allowed the server decides. */

let current = { user_id: "", grants: [], at_most: "viewer" };

/** Note who is logged in. */
export function setSession(session) {
  current = session;
}

/** Who is logged in. */
export const session = () => current;

/** Say whether whoever looks may look everywhere, at the whole log too. */
export const seesAll = () => current.grants.some(({ workspace }) => workspace === null);

/** Say whether whoever looks administrates everything. */
export const isAdmin = () => current.at_most === "admin" && current.grants.some(({ role, workspace }) => role === "admin" && workspace === null);

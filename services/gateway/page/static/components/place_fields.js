/** The fields that name a workspace and a project of it: what is there is proposed, another name makes a new one. */
import { to } from "../api.js";
import { usePath } from "../resource.js";
import { html, useState } from "../view.js";

function Names({ id, items }) {
  return html`<datalist id=${id}>${(items ?? []).filter(({ archived, name }) => name && !archived).map(({ name }) => html`<option key=${name} value=${name}></option>`)}</datalist>`;
}

/** Where an experiment is to be kept. `isHeld`: its workspace may not change; `unsaid`: what an empty workspace means. */
export function PlaceFields({ workspace = "", project = "", isHeld = false, unsaid = "none named" }) {
  const [chosen, setChosen] = useState(workspace);
  const workspaces = usePath("/workspaces?limit=500").data?.items;
  const id = workspaces?.find(({ name }) => name === chosen)?.id;
  const projects = usePath(id ? to`/workspaces/${id}/projects?limit=500` : null).data?.items;
  return html`
    ${
      isHeld
        ? html`<p class="soft">${workspace ? `It stays in workspace ${workspace}` : "It stays in the workspace without a name"} until it is over: it runs under that one's limits.<input type="hidden" name="workspace" value=${workspace} /></p>`
        : html`<p><label>Workspace <input type="text" name="workspace" maxlength="256" list="workspace-names" defaultValue=${workspace} placeholder=${unsaid} autocomplete="off" onInput=${(input) => setChosen(input.target.value)} /></label></p>`
    }
    <p><label>Project <input type="text" name="project" maxlength="256" list="project-names" defaultValue=${project} placeholder="none" autocomplete="off" /></label></p>
    <${Names} id="workspace-names" items=${workspaces} /><${Names} id="project-names" items=${projects} />`;
}

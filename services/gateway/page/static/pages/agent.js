/** One agent: how it is and why, what it runs and for whom, what it ran last, who closed it. */
import { to } from "../api.js";
import { Explained } from "../components/explained.js";
import { Shown } from "../components/notice.js";
import { State } from "../components/state.js";
import { usePath } from "../resource.js";
import { html, useEffect } from "../view.js";

/** Say whether an event is about this agent, or gives it work or takes work from it. */
function touchesAgent(event, id) {
  const { agent_id: agent, members } = event.event ?? {};
  return agent === id || event.aggregate_id === id || event.name === "GPUReleased" || members?.some((m) => m.agent_id === id);
}

export function Agent({ id }) {
  const why = usePath(to`/agents/${id}/why`, (event) => touchesAgent(event, id));
  useEffect(() => {
    document.title = `agent ${id} · Trainmaster`;
  }, [id]);
  return html`
    <p class="crumbs"><a href="#/cluster">Cluster</a></p>
    <${Shown} resource=${why} what="agent">${({ state }) => html`
      <header class="head"><h1>Agent ${id} <${State} state=${state} /></h1></header>
      <${Explained} why=${why} command=${`tm why ${id}`} />
    `}<//>
  `;
}

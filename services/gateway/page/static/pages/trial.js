/** One trial: what it was given, how it went, its charts, checkpoints, output and the chain of causes behind it. */
import { to, urlOf } from "../api.js";
import { Action } from "../components/action.js";
import { Attempts, Checkpoints } from "../components/trial_parts.js";
import { Explained, movesTheQueue } from "../components/explained.js";
import { Logs } from "../components/logs.js";
import { Shown } from "../components/notice.js";
import { Fact, State } from "../components/state.js";
import { Age, Duration } from "../components/time.js";
import { Hardware, TrialCharts } from "../components/trial_charts.js";
import { attemptsOf } from "../components/why.js";
import { forkOfTrial, cancelOf } from "../trial_actions.js";
import { useTrialMetrics } from "../trial_metrics.js";
import { flatten, formatCount, formatValue } from "../format.js";
import { touchesTrial } from "../live.js";
import { usePath } from "../resource.js";
import { link } from "../router.js";
import { html, useEffect } from "../view.js";

function Header({ trial, experiment }) {
  const name = experiment?.name ?? trial.experiment_id;
  useEffect(() => {
    document.title = `trial ${trial.index} of ${name} · Trainmaster`;
  }, [trial.index, name]);
  return html`
    <p class="crumbs"><a href="#/">Experiments</a> / <a href=${link("experiments", trial.experiment_id)}>${name}</a></p>
    <header class="head"><h1>Trial ${trial.index} <${State} state=${trial.state} />
      ${experiment?.best?.trial_id === trial.id && html` <span class="label good">best</span>`}</h1>
      <div class="buttons">${experiment && trial.latest_checkpoint_id && html`<${Action} action=${forkOfTrial(trial, experiment)} />`}${trial.ended_at === null && html`<${Action} action=${cancelOf(trial)} />`}</div></header>
    <p class="soft mono">${trial.id}</p>
  `;
}

/** Why it failed, first thing on the page: the reason, and the root cause's traceback. */
function Mistake({ trial }) {
  if (trial.state === "FAILED") {
    return html`<section class="notice failure mistake" role="alert" aria-label="This trial failed">
      <h2>This trial failed</h2>
      ${trial.reason && html`<p>${trial.reason}</p>`}
      ${trial.error && html`<pre class="traceback" tabindex="0">${trial.error}</pre>`}
    </section>`;
  }
  if (!trial.error) return null;
  return html`<details class="notice mistake"><summary>An attempt failed and the trial was started again</summary>
    <pre class="traceback" tabindex="0">${trial.error}</pre></details>`;
}

function Facts({ trial, experiment }) {
  const best = trial.best_checkpoint_id;
  const agents = (trial.agents ?? []).map(
    ({ agent_id: id, slots }) => `${id} (${slots.map((slot) => `slot ${slot}`).join(", ")})`,
  );
  return html`<dl class="facts">
    <${Fact} name=${`Best ${experiment?.searcher.metric ?? "validation"}`}>
      <strong class="figure">${formatValue(trial.metric)}</strong> ${trial.best_step !== null && html`<span class="soft">step ${formatCount(trial.best_step)}</span>`}
    <//>
    <${Fact} name="Step">${trial.step === null ? "–" : formatCount(trial.step)}<//>
    <${Fact} name="Slots">${trial.slots} <span class="soft">${agents.join("; ")}</span><//>
    <${Fact} name="Restarts">${trial.restarts}<//>
    ${best && html`<${Fact} name="Best checkpoint"><a href=${urlOf(to`/checkpoints/${best}/archive`)} download title=${best}>download</a> <span class="soft">step ${best.split("-s").at(-1)}</span><//>`}
    <${Fact} name="Requested"><${Age} at=${trial.requested_at} /><//>
    <${Fact} name=${trial.ended_at ? "Took" : "Training for"}><${Duration} from=${trial.started_at} to=${trial.ended_at} /><//>
  </dl>`;
}

function Hyperparameters({ trial }) {
  return html`<section aria-labelledby="hyperparameters-title">
    <h2 id="hyperparameters-title">Hyperparameters</h2>
    <dl class="pairs">
      ${flatten(trial.hyperparameters).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd class="number">${formatValue(value)}</dd></div>`)}
      <div><dt class="soft">seed</dt><dd class="number">${trial.seed}</dd></div>
    </dl>
    ${trial.origin && html`<p class="soft">Chosen by: ${trial.origin}</p>`}
  </section>`;
}

export function Trial({ id }) {
  const isOurs = (event) => touchesTrial(event, id);
  const resource = usePath(to`/trials/${id}`, isOurs);
  const experimentId = resource.data?.experiment_id ?? null;
  const experiment = usePath(experimentId && to`/experiments/${experimentId}`, isOurs).data;
  const isWaiting = resource.data?.state === "WAITING";
  const metrics = useTrialMetrics(resource.data);
  const why = usePath(to`/trials/${id}/why`, (event) => isOurs(event) || (isWaiting && movesTheQueue(event)));
  return html`<${Shown} resource=${resource} what="trial">${(trial) => html`
    <${Header} trial=${trial} experiment=${experiment} />
    <${Mistake} trial=${trial} />
    <${Facts} trial=${trial} experiment=${experiment} />
    <div class="columns">
      <${Hyperparameters} trial=${trial} />
      <${Attempts} attempts=${attemptsOf(why.data?.chain ?? [])} />
    </div>
    <${TrialCharts} trial=${trial} metrics=${metrics} />
    <${Checkpoints} trial=${trial} />
    <${Logs} trial=${trial} />
    <${Hardware} trial=${trial} metrics=${metrics} />
    <${Explained} why=${why} command=${`tm why ${id}`} />
  `}<//>`;
}

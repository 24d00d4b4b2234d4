/** One experiment: how far it is, its best trial, a line per trial, and the table of all of them. */
import { getAll, to } from "../api.js";
import { Action } from "../components/action.js";
import { Command } from "../components/command.js";
import { Explained, movesTheQueue } from "../components/explained.js";
import { MetricChart } from "../components/metric_chart.js";
import { Shown } from "../components/notice.js";
import { Fact, Progress, State } from "../components/state.js";
import { Age, Duration, Time } from "../components/time.js";
import { TrialTable } from "../components/trial_table.js";
import { formatValue } from "../format.js";
import { touchesExperiment } from "../live.js";
import { usePath, useResource } from "../resource.js";
import { link, linkToEvents } from "../router.js";
import { html, useEffect } from "../view.js";

const MOST_TRIALS = 2000;

function actionsOf({ id, name, state, trials }) {
  const running = trials.running === 1 ? "1 running trial" : `${trials.running} running trials`;
  const pause = {
    verb: "Pause",
    title: `Pause ${name}?`,
    explanation: `Its ${running} will save a checkpoint, stop and give back their slots. Resume goes on from there.`,
  };
  const resume = {
    verb: "Resume",
    title: `Resume ${name}?`,
    explanation: "Its trials queue for slots again and go on from their newest checkpoints.",
  };
  const cancel = {
    verb: "Cancel",
    title: `Cancel ${name}?`,
    explanation: `Its ${running} will save a checkpoint and stop for good; no more are started. This cannot be undone.`,
  };
  const offered = { ACTIVE: [pause, cancel], PAUSED: [resume, cancel] }[state] ?? [];
  return offered.map((action) => {
    const word = action.verb.toLowerCase();
    return { ...action, command: `tm ${word} ${id}`, path: `${to`/experiments/${id}`}/${word}` };
  });
}

function Best({ experiment }) {
  const { best, searcher } = experiment;
  const aim = `${searcher.metric}, ${searcher.smaller_is_better ? "smaller" : "larger"} is better`;
  if (!best)
    return html`<${Fact} name=${`Best ${searcher.metric}`}>
      <span title=${aim}>–</span> <span class="soft">${experiment.ended_at ? "never validated" : "no validation yet"}</span>
    <//>`;
  return html`<${Fact} name=${`Best ${searcher.metric}`}>
    <strong class="figure" title=${aim}>${formatValue(best.metric)}</strong>${" "}
    <a href=${link("trials", best.trial_id)}>trial ${best.trial_id.split("-").at(-1)}</a> <span class="soft">step ${best.step}</span>
  <//>`;
}

function Facts({ experiment }) {
  const { trials, searcher } = experiment;
  const most = Math.max(searcher.max_trials ?? 0, trials.total);
  const parts = ["running", "waiting", "failed", "canceled"]
    .filter((part) => trials[part] > 0)
    .map((part) => `${trials[part]} ${part}`);
  return html`<dl class="facts">
    <${Best} experiment=${experiment} />
    <${Fact} name="Trials"><span class="figure">${trials.completed}</span> of ${most} completed <span class="soft">${parts.join(", ")}</span><//>
    <${Fact} name="Search">${searcher.name} <span class="soft">${searcher.metric} ${searcher.smaller_is_better ? "↓" : "↑"}</span><//>
    <${Fact} name="Slots per trial">${experiment.slots_per_trial}<//>
    <${Fact} name="Submitted"><${Age} at=${experiment.submitted_at} /><//>
    <${Fact} name=${experiment.ended_at ? "Took" : "Elapsed"}><${Duration} from=${experiment.submitted_at} to=${experiment.ended_at} /><//>
  </dl>`;
}

function Header({ experiment, refresh }) {
  const { id, name, state, labels, description } = experiment;
  return html`
    <p class="crumbs"><a href="#/">Experiments</a></p>
    <header class="head">
      <h1>${name} <${State} state=${state} /></h1>
      <div class="buttons">${actionsOf(experiment).map((action) => html`<${Action} key=${action.verb} action=${action} onDone=${refresh} />`)}</div>
    </header>
    <p class="soft"><span class="mono">${id}</span>${labels?.map((label) => html`<span key=${label} class="label">${label}</span>`)} ${description}</p>
    <${Progress} value=${experiment.progress} state=${state} label="Progress of the search" />
    ${
      experiment.reason &&
      html`<p class="reason ${state === "FAILED" ? "failure" : ""}" role="note">
      <strong>${state === "FAILED" ? "Failed" : "Note"}:</strong> ${experiment.reason}
    </p>`
    }
  `;
}

function Footer({ experiment }) {
  const { id, best, config } = experiment;
  return html`
    <section aria-labelledby="commands-title">
      <h2 id="commands-title">On the command line</h2>
      <ul class="commands">
        <li><${Command} text=${`tm show ${id}`} /> <span class="soft">this page as a table</span></li>
        <li>
          <${Command} text=${`tm tap --experiment ${id}`} />${" "}
          <span class="soft">its events as they happen, also <a href=${linkToEvents({ experiment: id })}>here</a></span>
        </li>
        ${best && html`<li><${Command} text=${`tm why ${best.trial_id}`} /> <span class="soft">how the best trial came about</span></li>`}
        ${best?.checkpoint_id && html`<li>
          <${Command} text=${`tm checkpoint download ${best.checkpoint_id}`} /> <span class="soft">the best trial's checkpoint</span>
        </li>`}
      </ul>
    </section>
    <details><summary>Configuration, every default filled in</summary><pre tabindex="0">${JSON.stringify(config, null, 2)}</pre></details>
  `;
}

function Whole({ experiment, trials, why, refresh }) {
  useEffect(() => {
    document.title = `${experiment.name} · Trainmaster`;
  }, [experiment.name]);
  return html`
    <${Header} experiment=${experiment} refresh=${refresh} />
    <${Facts} experiment=${experiment} />
    <${MetricChart} experiment=${experiment} trials=${trials.data?.items ?? []} />
    <${Shown} resource=${trials} what="trials">${(data) => html`<${TrialTable} experiment=${experiment} ...${data} />`}<//>
    <${Explained} why=${why} command=${`tm why ${experiment.id}`} />
    <${Footer} experiment=${experiment} />
  `;
}

export function Experiment({ id }) {
  const isOurs = (event) => touchesExperiment(event, id);
  const resource = usePath(to`/experiments/${id}`, isOurs);
  const trials = useResource(
    to`/experiments/${id}/trials`,
    (options) => getAll(to`/experiments/${id}/trials`, { ...options, cap: MOST_TRIALS }),
    isOurs,
  );
  const isOpen = resource.data !== null && resource.data.ended_at === null;
  const why = usePath(to`/experiments/${id}/why`, (event) => isOurs(event) || (isOpen && movesTheQueue(event)));
  const refresh = () => {
    why.refresh();
    resource.refresh();
    trials.refresh();
  };
  return html`<${Shown} resource=${resource} what="experiment">${(experiment) =>
    html`<${Whole} experiment=${experiment} trials=${trials} why=${why} refresh=${refresh} />`}<//>`;
}

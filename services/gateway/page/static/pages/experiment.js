/** One experiment: how far it is, its best trial, a line per trial, and the table of all of them. */
import { to, urlOf } from "../api.js";
import { Action } from "../components/action.js";
import { CodeFiles } from "../components/code_files.js";
import { Command } from "../components/command.js";
import { Configuration } from "../components/configuration.js";
import { Explained, movesTheQueue } from "../components/explained.js";
import { linkToList } from "../components/filters.js";
import { Hyperparameters } from "../components/hyperparameters.js";
import { MetricChart } from "../components/metric_chart.js";
import { Notes } from "../components/notes.js";
import { Shown } from "../components/notice.js";
import { Rungs } from "../components/rungs.js";
import { Fact, Progress, State } from "../components/state.js";
import { Tabs } from "../components/tabs.js";
import { Age, Duration } from "../components/time.js";
import { TrialTable } from "../components/trial_table.js";
import { actionOn, changeOf, forkOf, moveOf, offered, scheduleOf } from "../experiment_actions.js";
import { formatValue } from "../format.js";
import { touchesExperiment } from "../live.js";
import { usePath } from "../resource.js";
import { link, linkToEvents } from "../router.js";
import { dimensionsOf, fixedNames, isLadder } from "../spaces.js";
import { useTrials } from "../trial_columns.js";
import { html, useEffect, useMemo, useState } from "../view.js";

const CHANGES_USAGE = new Set(["GPUAllocated", "GPUReleased"]);

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
    ${best.checkpoint_id && html` · <a href=${urlOf(to`/checkpoints/${best.checkpoint_id}/archive`)} download title=${best.checkpoint_id}>its checkpoint</a>`}
  <//>`;
}

function Facts({ experiment }) {
  const usage = usePath(to`/experiments/${experiment.id}/usage`, (event) => CHANGES_USAGE.has(event.name) && touchesExperiment(event, experiment.id)).data;
  const { trials, searcher } = experiment;
  const most = Math.max(searcher.max_trials ?? 0, trials.total);
  const parts = ["running", "waiting", "failed", "canceled"]
    .filter((part) => trials[part] > 0)
    .map((part) => `${trials[part]} ${part}`);
  const { workspace, project, priority, weight, max_slots: mostSlots } = experiment;
  const rights = [`priority ${priority}`, weight !== 1 && `weight ${weight}`, mostSlots && `at most ${mostSlots} ${mostSlots === 1 ? "slot" : "slots"}`].filter(Boolean);
  return html`<dl class="facts">
    <${Best} experiment=${experiment} />
    <${Fact} name="Trials"><span class="figure">${trials.completed}</span> of ${most} completed <span class="soft">${parts.join(", ")}</span><//>
    <${Fact} name="Search">${searcher.name} <span class="soft">${searcher.metric} ${searcher.smaller_is_better ? "↓" : "↑"}${!experiment.ended_at && searcher.max_concurrent_trials > 0 && `, ${searcher.max_concurrent_trials} at a time`}</span><//>
    <${Fact} name="Slots per trial">${experiment.slots_per_trial}<//>
    ${!experiment.ended_at && html`<${Fact} name="Pool">${experiment.pool} <span class="soft">${rights.join(", ")}</span><//>`}
    ${usage && html`<${Fact} name="Cost"><span title=${`${Math.round(usage.slot_seconds)} slot seconds in ${usage.allocations} allocations`}>${formatValue(usage.slot_seconds / 3600)}</span> <span class="soft">slot hours</span><//>`}
    ${(workspace || project) && html`<${Fact} name="Kept in"><a href=${linkToList({ workspace, project })}>${[workspace, project].filter(Boolean).join(" / ")}</a><//>`}
    <${Fact} name="Submitted"><${Age} at=${experiment.submitted_at} /> <span class="soft">by ${experiment.owner}</span><//>
    <${Fact} name=${experiment.ended_at ? "Took" : "Elapsed"}><${Duration} from=${experiment.submitted_at} to=${experiment.ended_at} /><//>
  </dl>`;
}

function Header({ experiment, tab, refresh }) {
  const { id, name, state, labels, description } = experiment;
  const changes = [changeOf(experiment), scheduleOf(experiment), !experiment.deletion && moveOf(experiment)].filter(Boolean);
  const tabs = [
    { name: "", title: "Trials" },
    { name: "hyperparameters", title: "Hyperparameters" },
    ...(isLadder(experiment) ? [{ name: "rungs", title: "Rungs" }] : []),
    { name: "files", title: "Configuration and code" },
    { name: "why", title: "Why" },
  ];
  return html`
    <p class="crumbs"><a href="#/">Experiments</a></p>
    <header class="head">
      <h1>${name} <${State} state=${state} /></h1>
      <div class="buttons"><${Action} action=${forkOf(experiment)} />${changes.map((change) => html`<${Action} key=${change.verb} action=${change} onDone=${refresh} />`)}${offered(experiment).map((word) => html`<${Action} key=${word} action=${actionOn(experiment, word)} onDone=${refresh} />`)}</div>
    </header>
    <p class="soft"><span class="mono">${id}</span>${experiment.archived && html`<span class="label">archived</span>`}${experiment.deletion && html`<span class="label bad">deleted</span>`}${labels?.map((label) => html`<span key=${label} class="label">${label}</span>`)} ${description}</p>
    <${Progress} value=${experiment.progress} state=${state} label="Progress of the search" />
    ${
      experiment.reason &&
      html`<p class="reason ${state === "FAILED" ? "failure" : ""}" role="note">
      <strong>${state === "FAILED" ? "Failed" : "Note"}:</strong> ${experiment.reason}
    </p>`
    }
    <${Facts} experiment=${experiment} />
    <${Tabs} label="Parts of this experiment" tabs=${tabs} base=${["experiments", id]} current=${tab} />
  `;
}

function Commands({ experiment }) {
  const { id, best } = experiment;
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
  `;
}

function Why({ experiment }) {
  const { id } = experiment;
  const isOpen = experiment.ended_at === null;
  const why = usePath(to`/experiments/${id}/why`, (event) => touchesExperiment(event, id) || (isOpen && movesTheQueue(event)));
  return html`<${Explained} why=${why} command=${`tm why ${id}`} />`;
}

/** What the tab shows; the trials are read by all that need them once. */
function Part({ experiment, trials, tab, refresh }) {
  const [chosen, setChosen] = useState(new Set());
  const { data } = trials;
  const fixed = useMemo(() => fixedNames(experiment.config?.hyperparameters), [experiment.id]);
  const dimensions = useMemo(() => (data ? dimensionsOf(experiment, data.trials) : []), [experiment.id, data]);
  const shared = { experiment, dimensions, fixed, chosen, onChoose: setChosen };
  if (tab === "files") return html`<${Configuration} config=${experiment.config} /><${CodeFiles} experiment=${experiment} />`;
  if (tab === "why") return html`<${Why} experiment=${experiment} />`;
  if (tab === "rungs") return html`<${Rungs} experiment=${experiment} />`;
  if (tab === "hyperparameters") return html`<${Shown} resource=${trials} what="trials">${(each) => html`<${Hyperparameters} ...${shared} ...${each} />`}<//>`;
  return html`
    <${MetricChart} experiment=${experiment} trials=${data?.trials} chosen=${chosen} />
    <${Shown} resource=${trials} what="trials">${(each) => html`<${TrialTable} ...${shared} ...${each} />`}<//>
    <${Notes} experiment=${experiment} onDone=${refresh} />
    <${Commands} experiment=${experiment} />
  `;
}

function Whole({ experiment, trials, tab, refresh }) {
  useEffect(() => {
    document.title = `${experiment.name} · Trainmaster`;
  }, [experiment.name]);
  return html`<${Header} experiment=${experiment} tab=${tab} refresh=${refresh} /><${Part} experiment=${experiment} trials=${trials} tab=${tab} refresh=${refresh} />`;
}

export function Experiment({ id, tab }) {
  const resource = usePath(to`/experiments/${id}`, (event) => touchesExperiment(event, id));
  const trials = useTrials(resource.data && id);
  const refresh = () => {
    resource.refresh();
    trials.refresh();
  };
  return html`<${Shown} resource=${resource} what="experiment">${(experiment) =>
    html`<${Whole} experiment=${experiment} trials=${trials} tab=${tab} refresh=${refresh} />`}<//>`;
}

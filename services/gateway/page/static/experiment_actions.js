/** What can be done to experiments: the words of the dialog that asks back, the command that does the same, the call. */
import { ApiError, post, send, to } from "./api.js";
import { commandLine } from "./command_line.js";
import { PlaceFields } from "./components/place_fields.js";
import { ScheduleFields } from "./components/schedule_fields.js";
import { html } from "./view.js";

const WORDS = {
  pause: { verb: "Pause", explanation: "Running trials save a checkpoint, stop and give back their slots. Resume goes on from there." },
  resume: { verb: "Resume", explanation: "The trials queue for slots again and go on from their newest checkpoints." },
  cancel: { verb: "Cancel", explanation: "Running trials save a checkpoint and stop for good; no more are started. This cannot be undone." },
  archive: { verb: "Archive", explanation: "It leaves the lists; nothing of it is lost." },
  unarchive: { verb: "Unarchive", explanation: "It comes back into the lists." },
  delete: { verb: "Delete", explanation: "It and all its checkpoints are deleted; what it did stays on the log. This cannot be undone." },
};
const OVER = ["archive", "delete"];
const OFFERED = { ACTIVE: ["pause", "cancel"], PAUSED: ["resume", "cancel"], COMPLETED: OVER, FAILED: OVER, CANCELED: OVER };

/** The words for what an experiment can be told as it stands. */
export function offered({ state, archived, deletion }) {
  if (deletion) return [];
  return archived ? ["unarchive", "delete"] : (OFFERED[state] ?? []);
}

/** One action for one experiment. */
export function actionOn({ id, name }, word) {
  const { verb, explanation } = WORDS[word];
  return { verb, title: `${verb} ${name}?`, explanation, command: `tm ${word} ${id}`, run: () => post(to`/experiments/${id}/` + word) };
}

/** Ask the same of many; what was refused is told together. */
async function askAll(wish) {
  const { seq, answer } = await send("POST", "/experiments/bulk", wish);
  const refused = answer.items.filter(({ status }) => status !== 200);
  if (refused.length > 0) throw new ApiError(409, "Refused", refused.map(({ id, detail }) => `${id}: ${detail}`).join(" "));
  return seq;
}

/** One action for several. Returns null when none of them can be told so. */
export function actionOnAll(experiments, word) {
  const able = experiments.filter((each) => offered(each).includes(word));
  if (able.length === 0) return null;
  const { verb, explanation } = WORDS[word];
  const ids = able.map(({ id }) => id);
  const isLoop = ids.length > 1 && ["pause", "resume", "cancel"].includes(word);
  return {
    verb: `${verb} ${able.length}`,
    title: `${verb} ${able.length} ${able.length === 1 ? "experiment" : "experiments"}?`,
    explanation,
    command: isLoop ? `for id in ${ids.join(" ")}; do tm ${word} $id; done` : `tm ${word} ${ids.join(" ")}`,
    run: () => askAll({ action: word, ids }),
  };
}

/** Labelling several: one label more, or one less. */
export function labelAll(experiments) {
  const ids = experiments.map(({ id }) => id);
  return {
    verb: "Label",
    title: `Label ${ids.length} ${ids.length === 1 ? "experiment" : "experiments"}`,
    explanation: "Labels are what the list can be narrowed to.",
    command: (form) => commandLine("label", ids, { "--add": form.get("add") || (form.get("remove") ? null : "LABEL"), "--remove": form.get("remove") || null }),
    fields: html`<p><label>Add <input type="text" name="add" maxlength="256" /></label><label>take away <input type="text" name="remove" maxlength="256" /></label></p>`,
    run: (form) => {
      const list = (name) => (form.get(name) ? [form.get(name)] : []);
      return askAll({ action: "label", ids, add: list("add"), remove: list("remove") });
    },
  };
}

const CHANGEABLE = ["max_trials", "max_concurrent_trials"];
const FIXED = { single: CHANGEABLE, grid: ["max_trials"], hyperband: ["max_trials"] }; // their trials follow from the space

/** Changing the limits of a search that is not over. Returns null when there is none to change. */
export function changeOf({ id, name, ended_at: endedAt, deletion, searcher }) {
  const limits = CHANGEABLE.filter((limit) => !FIXED[searcher.name]?.includes(limit));
  if (endedAt || deletion || limits.length === 0) return null;
  const words = { max_trials: ["Trials", "in all, those requested already included"], max_concurrent_trials: ["At a time", "trials that train beside each other"] };
  return {
    verb: "Change",
    title: `Change the search of ${name}`,
    explanation: "The search goes by it at once. What runs already goes on, also beyond a lower limit. What you leave empty stays as it is.",
    command: (form) => {
      const given = limits.map((limit) => [`--${limit.replaceAll("_", "-")}`, form.get(limit) || null]);
      return commandLine("change", [id], Object.fromEntries(given.some(([, value]) => value) ? given : given.slice(0, 1).map(([option]) => [option, "N"])));
    },
    fields: limits.map((limit) => html`<p key=${limit}><label>${words[limit][0]} <input type="number" name=${limit} min="1" max="100000" placeholder=${searcher[limit] || ""} /></label> <span class="soft small">${words[limit][1]}</span></p>`),
    run: (form) => post(to`/experiments/${id}/search`, null, Object.fromEntries(limits.map((limit) => [limit, form.get(limit)]))),
  };
}

/** Changing how the scheduler treats an experiment. Returns null when it is over. */
export function scheduleOf(experiment) {
  const { id, name, ended_at: endedAt, deletion } = experiment;
  if (endedAt || deletion) return null;
  return {
    verb: "Schedule",
    title: `Schedule ${name} otherwise`,
    explanation: "It holds for all its trials, also those that run. They are asked to stop only where the pool preempts, or changes.",
    command: (form) => commandLine("change", [id], { [`--${form.get("what").replaceAll("_", "-")}`]: form.get("value") || "VALUE" }),
    fields: html`<${ScheduleFields} experiment=${experiment} />`,
    run: (form) => post(to`/experiments/${id}/queue`, null, { [form.get("what")]: form.get("value") }),
  };
}

const asOptions = (place) => Object.fromEntries(Object.entries(place).map(([name, value]) => [`--${name}`, value]));

/** Keeping an experiment in another project, or when it is over in another workspace. */
export function moveOf({ id, name, workspace, project, ended_at: endedAt }) {
  const wanted = (form) => ({ workspace: form.get("workspace") === workspace ? null : form.get("workspace"), project: form.get("project") });
  return {
    verb: "Move",
    title: `Move ${name} to another project`,
    explanation: "Who may look at it and change it goes by the workspace. A name that is not there yet makes a new one.",
    command: (form) => commandLine("move", [id], asOptions(wanted(form))),
    fields: html`<${PlaceFields} workspace=${workspace} project=${project} isHeld=${!endedAt} />`,
    run: (form) => post(to`/experiments/${id}/move`, wanted(form)),
  };
}

/** The same for several. */
export function moveAll(experiments) {
  const ids = experiments.map(({ id }) => id);
  const wanted = (form) => ({ workspace: form.get("workspace") || null, project: form.get("project") });
  return {
    verb: "Move",
    title: `Move ${ids.length} ${ids.length === 1 ? "experiment" : "experiments"} to another project`,
    explanation: "To another workspace only those that are over. A name that is not there yet makes a new one.",
    command: (form) => (ids.length === 1 ? commandLine("move", ids, asOptions(wanted(form))) : `for id in ${ids.join(" ")}; do ${commandLine("move", [], asOptions(wanted(form))).replace("tm move", "tm move $id")}; done`),
    fields: html`<${PlaceFields} unsaid="its own" />`,
    run: (form) => askAll({ action: "move", ids, ...wanted(form) }),
  };
}

/** Making another experiment of one. */
export function forkOf({ id, name, best, searcher }) {
  return {
    verb: "Fork",
    title: `Fork ${name}`,
    explanation: "Its file and its code are submitted again, with these changes. What you leave empty stays as it was.",
    command: (form) =>
      commandLine("fork", [id], {
        "--name": form.get("name") || null,
        "--checkpoint": form.get("checkpoint"),
        "--set": form.get("max_trials") ? `searcher.max_trials=${form.get("max_trials")}` : null,
      }),
    fields: html`
      <p><label>Called <input type="text" name="name" maxlength="256" placeholder=${`${name} (fork of ${id})`} /></label></p>
      <p><label>Trials <input type="number" name="max_trials" min="1" placeholder=${searcher.max_trials ?? ""} /></label></p>
      ${best?.checkpoint_id && html`<p><label><input type="checkbox" name="checkpoint" value=${best.checkpoint_id} /> all trials start from the best checkpoint</label></p>`}`,
    run: async (form) => {
      const set = form.get("max_trials") ? { "searcher.max_trials": Number(form.get("max_trials")) } : {};
      const { seq, answer } = await send("POST", to`/experiments/${id}/fork`, { name: form.get("name") || null, checkpoint: form.get("checkpoint"), set });
      location.assign(`#/experiments/${answer.id}`);
      return seq;
    },
  };
}

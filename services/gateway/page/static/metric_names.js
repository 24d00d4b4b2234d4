/** Which metrics a trial or an experiment has, by group: what the training script validated and reported, and the rest. */
import { get, to } from "./api.js";
import { useResource } from "./resource.js";

const HARDWARE = ["system", "profiling"]; // what the agent measured, not the script
const FIRST = ["validation", "training"];
const COLOURS = { training: "--line-0", validation: "--best", system: "--line-3", profiling: "--line-1" };
const NAMED = ["--line-2", "--line-4", "--line-6", "--line-7"];

export const CHANGING = new Set(["MetricReported", "TrialExited", "TrialPreempted", "TrialClosed"]);

export const isHardware = (group) => HARDWARE.includes(group);

/** Groups in the order they are shown: validation, training, those that the script named, hardware. */
export function orderOf(group) {
  const place = FIRST.indexOf(group);
  return place >= 0 ? place : FIRST.length + isHardware(group);
}

/** A colour of the style sheet for a group; a name of the script's always has the same. */
export function colourOfGroup(group) {
  const sum = [...group].reduce((total, letter) => (total * 31 + letter.charCodeAt(0)) % 65521, 7);
  return COLOURS[group] ?? NAMED[sum % NAMED.length];
}

/** Read the names: [{group, name}], in order. `kind` is "trials" or "experiments". */
export async function readNames(kind, id, options) {
  const { items } = await get(to`/${kind}/${id}/metrics/names`, options);
  return items.sort((a, b) => orderOf(a.group) - orderOf(b.group) || a.group.localeCompare(b.group) || a.name.localeCompare(b.name));
}

/** Read all series of a trial in the groups for which `isWanted(group)`, one read a group. */
export async function readTrialSeries(id, maxPoints, isWanted, options) {
  const groups = [...new Set((await readNames("trials", id, options)).map(({ group }) => group))].filter(isWanted);
  const read = (group) => get(to`/trials/${id}/metrics`, { ...options, parameters: { group, max_points: maxPoints } });
  return (await Promise.all(groups.map(read))).flatMap(({ series }) => series);
}

/** The names of what an experiment's trials reported, current; null until they are known. */
export const useExperimentNames = (id, affects) =>
  useResource(`metric names of ${id}`, (options) => readNames("experiments", id, options), affects).data;

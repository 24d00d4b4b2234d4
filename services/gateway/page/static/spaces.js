/** A search's space as the pictures need it: which hyperparameters vary, and on what scale. */
import { flatten } from "./format.js";

const LADDERS = new Set(["adaptive_asha", "async_halving", "asha", "bayesian_asha", "hyperband"]);

/** Say whether a search judges its trials at rungs. */
export const isLadder = ({ searcher }) => LADDERS.has(searcher.name);

/** Names of the hyperparameters that the experiment file fixes: the same in every trial, so no column each. */
export function fixedNames(tree, prefix = "") {
  return Object.entries(tree ?? {}).flatMap(([name, spec]) => {
    if (spec === null || typeof spec !== "object" || Array.isArray(spec)) return [prefix + name];
    if (spec.type === "const")
      return [prefix + name, ...flatten(spec.val, `${prefix}${name}.`).map(([inner]) => inner)];
    return typeof spec.type === "string" ? [] : fixedNames(spec, `${prefix}${name}.`);
  });
}

/** Names of the hyperparameters on a logarithmic scale. */
function logNames(tree, prefix = "") {
  return Object.entries(tree ?? {}).flatMap(([name, spec]) => {
    if (spec === null || typeof spec !== "object") return [];
    if (spec.type === "choice") return Object.values(spec.options).flatMap((option) => logNames(option, `${prefix}${name}.`));
    return spec.type === "log" ? [prefix + name] : typeof spec.type === "string" ? [] : logNames(spec, `${prefix}${name}.`);
  });
}

/** One hyperparameter that varies: {name, kind: "number" | "category", isLog, values: [..], categories}. */
function dimension(trials, name, isLog) {
  const values = trials.hyperparameters.get(name);
  const given = values.filter((value) => value !== null && value !== undefined);
  if (given.every((value) => typeof value === "number"))
    return { name, kind: "number", values, isLog: isLog && given.every((value) => value > 0), categories: [] };
  const texts = values.map((value) => (value === null || value === undefined ? null : typeof value === "string" ? value : JSON.stringify(value)));
  return { name, kind: "category", isLog: false, values: texts, categories: [...new Set(texts.filter((text) => text !== null))].sort() };
}

/** The dimensions of a search, by name; what all trials share is left out. */
export function dimensionsOf(experiment, trials) {
  const space = experiment.config?.hyperparameters;
  const fixed = new Set(fixedNames(space));
  const logs = new Set(logNames(space));
  return [...trials.hyperparameters.keys()]
    .filter((name) => !fixed.has(name))
    .map((name) => dimension(trials, name, logs.has(name)));
}

/** Place a value of a dimension between 0 and 1, null when it has none. */
export function placeIn(dimension, value, [low, high]) {
  if (value === null || value === undefined) return null;
  if (dimension.kind === "category") {
    const { categories } = dimension;
    return categories.length < 2 ? 0.5 : categories.indexOf(value) / (categories.length - 1);
  }
  if (high === low) return 0.5;
  return dimension.isLog ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

/** The least and the largest number of a column. */
export function rangeOf(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (typeof value !== "number") continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

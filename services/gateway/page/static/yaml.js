/** A configuration written as YAML, to be read: the text of an experiment file. */

const PLAIN = /^[A-Za-z_/][A-Za-z0-9_./ -]*$/;
const WORDS = new Set(["true", "false", "null", "yes", "no", "on", "off"]);

function scalar(value) {
  if (value === null) return "null";
  if (typeof value !== "string") return String(value);
  return PLAIN.test(value) && !value.endsWith(" ") && !WORDS.has(value.toLowerCase()) ? value : JSON.stringify(value);
}

const isLeaf = (value) => value === null || typeof value !== "object";
const isEmpty = (value) => !isLeaf(value) && Object.keys(value).length === 0;

/** The lines of a value, indented; what is null or empty is left out unless `isWhole`. */
export function yamlLines(value, isWhole = true, indent = "") {
  return Object.entries(value).flatMap(([name, each]) => {
    if (!isWhole && (each === null || each === "" || isEmpty(each))) return [];
    if (isLeaf(each)) return [`${indent}${name}: ${scalar(each)}`];
    if (Array.isArray(each)) {
      if (each.every(isLeaf)) return [`${indent}${name}: [${each.map(scalar).join(", ")}]`];
      return [`${indent}${name}:`, ...each.map((item) => `${indent}  - ${JSON.stringify(item)}`)];
    }
    if (isEmpty(each)) return [`${indent}${name}: {}`];
    return [`${indent}${name}:`, ...yamlLines(each, isWhole, `${indent}  `)];
  });
}

/** Numbers, sizes and times as people read them. */

const ISO_LIKE = "sv-SE"; // the locale that writes 2026-01-31 23:59:59

/** A metric or hyperparameter value: few digits, none lost that matter. */
export function formatValue(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "object") return JSON.stringify(value);
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

/** A whole number with separators. */
export const formatCount = (count) => (count ?? 0).toLocaleString("en-US");

/** A size in bytes, in decimal units. */
export function formatBytes(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = bytes ?? 0;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toPrecision(3)} ${units[unit]}`;
}

/** A span of time: "42 s", "3 min 5 s", "2 h 10 min", "4 d 3 h". */
export function formatDuration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** How long ago, coarsely: "just now", "4 min ago". */
export function formatAge(seconds) {
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** Local clock time with seconds; with the date when that is not today. */
export function formatTime(iso) {
  const time = new Date(iso);
  const [date, clock] = time.toLocaleString(ISO_LIKE).split(" ");
  return time.toDateString() === new Date().toDateString() ? clock : `${date} ${clock}`;
}

/** The same instant in UTC, to the millisecond. */
export const formatUtc = (iso) => `${new Date(iso).toISOString().replace("T", " ").replace("Z", "")} UTC`;

/** Nested hyperparameters as [dotted name, value] pairs; lists are values. */
export function flatten(tree, prefix = "") {
  return Object.entries(tree ?? {}).flatMap(([name, value]) =>
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? flatten(value, `${prefix}${name}.`)
      : [[prefix + name, value]],
  );
}

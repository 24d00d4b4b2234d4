/** Where we are: `#/path?filter=…` parsed, and links to there. */
import { useEffect, useState } from "./view.js";

/** Return {parts, query} of the current hash: "#/trials/x-1?tab=why" -> parts ["trials", "x-1"]. */
export function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decode), query: Object.fromEntries(new URLSearchParams(query)) };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray % typed by hand
  }
}

/** The link to an experiment's, a trial's, … page. */
export const link = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

/** The link to the events that match these filters. */
export function linkToEvents(filters) {
  const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value));
  return `#/events${query.size ? `?${query}` : ""}`;
}

/** The current place, as state of a component. */
export function usePlace() {
  const [current, setCurrent] = useState(place);
  useEffect(() => {
    const follow = () => setCurrent(place());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return current;
}

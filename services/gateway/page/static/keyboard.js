/** Keys that do something on the page shown: registered by whoever shows it, listed by `?`. */
import { useLayoutEffect, useRef } from "./view.js";

const layers = new Set();
const TYPING = "input, select, textarea, [contenteditable]";
const PRESSING = "a, button, summary"; // Enter is theirs

const watchers = new Set();
const tell = () => watchers.forEach((watcher) => watcher());

/** Call `watcher` whenever the keys that work have changed. Returns the function that ends it. */
export function watchKeys(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** The keys that work now: [{key, does}], those of the newest part of the page last. */
export const activeKeys = () => [...layers].flatMap(({ current }) => current);

function isTaken(press) {
  if (press.ctrlKey || press.metaKey || press.altKey || document.querySelector("dialog[open]")) return true;
  if (press.target.closest(TYPING)) return press.key !== "Escape";
  return press.key === "Enter" && press.target.closest(PRESSING) !== null;
}

addEventListener("keydown", (press) => {
  if (isTaken(press)) return;
  const binding = activeKeys().findLast(({ key }) => key === press.key);
  if (!binding) return;
  press.preventDefault();
  binding.run(press);
});

/** bindings: [{key, does, run}], for as long as the component is there: from the moment it can be seen. */
export function useKeys(bindings) {
  const layer = useRef(bindings);
  layer.current = bindings;
  useLayoutEffect(() => {
    layers.add(layer);
    tell();
    return () => {
      layers.delete(layer);
      tell();
    };
  }, []);
}

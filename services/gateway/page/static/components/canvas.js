/** A canvas that fills its box, sharp on every screen, drawn again when its size, its content or the theme changes. */
import { html, useEffect, useRef } from "../view.js";

/** A colour of the style sheet. */
export const styleValue = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const channels = (hex) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));

/** The colour at `place` (0: worst, 1: best) of the scale for metrics. */
export function scale() {
  const stops = ["--scale-worst", "--scale-middle", "--scale-best"].map(styleValue).map(channels);
  return (place) => {
    const at = Math.min(1, Math.max(0, place)) * 2;
    const from = Math.min(1, Math.floor(at));
    const mixed = stops[from].map((channel, number) => Math.round(channel + (stops[from + 1][number] - channel) * (at - from)));
    return `rgb(${mixed.join(" ")})`;
  };
}

/** `draw(context, width, height)` in CSS pixels; onMove and onClick get (x, y) in them, onMove null when the pointer left. */
export function Canvas({ label, className = "", draw, onMove = null, onClick = null }) {
  const element = useRef(null);
  const latest = useRef(draw);
  latest.current = draw;
  const paint = () => {
    if (element.current === null) return; // an observer may speak once more at the end
    const { clientWidth: width, clientHeight: height } = element.current;
    const ratio = devicePixelRatio || 1;
    element.current.width = Math.round(width * ratio);
    element.current.height = Math.round(height * ratio);
    const context = element.current.getContext("2d");
    context.scale(ratio, ratio);
    context.font = `12px ${styleValue("--font")}`;
    latest.current(context, width, height);
  };
  useEffect(() => {
    const observer = new ResizeObserver(paint);
    observer.observe(element.current);
    const theme = matchMedia("(prefers-color-scheme: dark)");
    theme.addEventListener("change", paint);
    return () => {
      observer.disconnect();
      theme.removeEventListener("change", paint);
    };
  }, []);
  useEffect(paint, [draw]);
  const at = (handle) => handle && ((pointer) => handle(pointer.offsetX, pointer.offsetY, element.current));
  return html`<canvas ref=${element} class=${className} role="img" aria-label=${label} onPointerMove=${at(onMove)} onPointerLeave=${onMove && (() => onMove(null, null, element.current))} onClick=${at(onClick)}></canvas>`;
}

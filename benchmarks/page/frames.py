"""How smoothly a page moves: the time between its frames, and its long tasks, as the browser itself tells them."""

from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from playwright.sync_api import Page

SCROLL_FRAMES = 180

#: Before the page's own scripts: note its long tasks, and when the first row of a table was painted.
WATCH = """
window.longTasks = [];
const note = ({startTime, duration}) => window.longTasks.push([startTime, duration]);
new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({type: 'longtask', buffered: true});
new MutationObserver((_, observer) => {
    if (!document.querySelector('tbody tr td')) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.firstRowMs = performance.now(); }, 0));
}).observe(document, {childList: true, subtree: true});
"""

_MOVE = """async ({label, frames, lasting}) => {
    const frame = label && document.querySelector(`.frame[aria-label="${label}"]`);
    if (label && !frame) throw new Error(`no list ${label}`);
    const begun = performance.now();
    const times = [];
    let before = begun;
    for (let number = 0; label ? number < frames : performance.now() - begun < lasting; number += 1) {
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        times.push(now - before);
        before = now;
        if (frame) frame.scrollTop = (frame.scrollHeight - frame.clientHeight) * number / (frames - 1);
    }
    await new Promise((done) => setTimeout(done, 100));
    return {times, tasks: window.longTasks.filter(([start]) => start >= begun).map(([, duration]) => duration)};
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """A stretch of time on a page."""

    frame_p95_ms: float
    longest_task_ms: float  # 0 when none took 50 ms, which is where the browser begins to tell
    num_long_tasks: int


def motion(page: Page, *, scrolling: str | None = None, lasting_ms: int = 0) -> Motion:
    """Scroll a list from its beginning to its end, or look on for so long."""
    found: dict[str, Any] = page.evaluate(_MOVE, {"label": scrolling, "frames": SCROLL_FRAMES, "lasting": lasting_ms})
    return Motion(
        frame_p95_ms=quantiles(found["times"], n=20)[-1],
        longest_task_ms=max(found["tasks"], default=0.0),
        num_long_tasks=len(found["tasks"]),
    )

"""How long a question takes over HTTP: about now, about random moments, and by time instead of sequence."""

import random
import time
from datetime import datetime

import aiohttp

from benchmarks.report import Row

ASKED = 40
API = "/api/v1"


async def measure(http: aiohttp.ClientSession, events: int, began: datetime, ended: datetime) -> list[Row]:
    """Ask each question ASKED times each way, at the same random moments."""
    draw = random.Random(7)
    moments = [draw.randrange(1, events) for _ in range(ASKED)]
    rows: list[Row] = []
    for question in await _questions(http, events):
        now = [await _ask_ms(http, question, {}) for _ in range(ASKED)]
        then = [await _ask_ms(http, question, {"as_of": str(seq)}) for seq in moments]
        rows += [_row(f"{question}: now", now), _row(f"{question}: as of", then)]
    times = [began + draw.random() * (ended - began) for _ in range(ASKED)]
    by_time = [await _ask_ms(http, "/experiments", {"as_of": instant.isoformat()}) for instant in times]
    apart = [sorted(draw.sample(moments, 2)) for _ in range(ASKED)]
    near = [await _ask_ms(http, "/diff", {"from": str(seq - seq // 1000), "to": str(seq)}) for seq in moments]
    far = [await _ask_ms(http, "/diff", {"from": str(first), "to": str(last)}) for first, last in apart]
    return [
        *rows,
        _row("/experiments: as of a time", by_time),
        _row("/diff of a thousandth of the log", near),
        _row("/diff of two random moments", far),
        _row("/diff of the whole log", [await _ask_ms(http, "/diff", {"from": "0"}) for _ in range(5)]),
    ]


async def _questions(http: aiohttp.ClientSession, events: int) -> list[str]:
    """What to ask: lists, and an experiment and a trial from the middle of the log, which random moments lie around."""
    async with http.get(f"{API}/experiments", params={"as_of": str(events // 2)}) as response:
        experiment_id = (await response.json())["items"][-1]["id"]
    experiment, trial = f"/experiments/{experiment_id}", f"/trials/{experiment_id}-50"
    return [
        "/experiments",
        experiment,
        f"{experiment}/trials",
        f"{experiment}/checkpoints",
        trial,
        "/agents",
        "/queue",
    ]


async def _ask_ms(http: aiohttp.ClientSession, question: str, query: dict[str, str]) -> float:
    started = time.perf_counter()
    async with http.get(f"{API}{question}", params=query) as response:
        body = await response.read()
        is_early = response.status == 404 and "as_of" in query  # a moment before it was there
        assert response.status == 200 or is_early, body
    return 1000 * (time.perf_counter() - started)


def _row(what: str, values: list[float]) -> Row:
    return Row(what=what, unit="ms", values=tuple(values))

"""Answers that are kept: one question for all who ask at once, and none that is older than what is known."""

import asyncio

import pytest

from services.gateway import cache
from services.gateway.cache import Cache, Encoded, Key

KEY: Key = ("/a", None)


class Source:
    """Answers with how often it was asked; waits until it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()

    async def __call__(self) -> Encoded:
        self.asked += 1
        number = self.asked
        await self.go.wait()
        return Encoded(b"x" * number, "", number)


async def test_many_who_ask_at_once_cost_one_question_until_the_read_model_moves() -> None:
    kept, source = Cache(), Source()
    tasks = [asyncio.create_task(kept.answer(1, KEY, source)) for _ in range(20)]
    source.go.set()
    assert {answer.shown for answer in await asyncio.gather(*tasks)} == {1} and source.asked == 1
    assert (await kept.answer(1, KEY, source)).shown == 1
    assert (await kept.answer(2, KEY, source)).shown == 2
    assert (await kept.answer(2, ("/a", frozenset({"w"})), source)).shown == 3
    assert (await kept.answer(None, KEY, source)).shown == 4


async def test_who_waited_for_somebody_who_left_asks_again() -> None:
    kept, source = Cache(), Source()
    first = asyncio.create_task(kept.answer(1, KEY, source))
    second = asyncio.create_task(kept.answer(1, KEY, source))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.go.set()
    assert (await second).shown == 2


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 1_000)
    monkeypatch.setattr(cache, "MAX_BODY_BYTES", 400)
    kept = Cache()

    async def large(size: int) -> Encoded:
        return Encoded(b"x" * size, "", 0)

    for number in range(100):
        await kept.answer(1, (str(number), None), lambda: large(300))
    await kept.answer(1, ("too large", None), lambda: large(500))
    assert kept.size_bytes == sum(entry.size_bytes for entry in kept.entries.values()) <= 1_000
    assert ("too large", None) not in kept.entries

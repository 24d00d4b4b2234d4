"""Ranks wait for one another in a real rendezvous store, alive as long as somebody works."""

import threading
from typing import Any

import torch.distributed

from trainmaster.sdk.gathering import BEATS_PER_TIMEOUT, Gathering

BEAT_S = 0.05
PATIENCE_S = 20.0


class Rank:
    """A rank's gathering, and how often it has said that it is alive."""

    def __init__(self, world_size: int, master: Any) -> None:
        self.alive = threading.Semaphore(0)
        self.gathering = Gathering(
            world_size=world_size,
            store=lambda: master,
            say_alive=self.alive.release,
            stall_timeout_s=BEAT_S * BEATS_PER_TIMEOUT,
        )

    def meet(self) -> threading.Thread:
        """Come to the next meeting, in a thread."""
        thread = threading.Thread(target=self.gathering.meet, daemon=True)
        thread.start()
        return thread


def ranks(world_size: int) -> list[Rank]:
    master = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    return [Rank(world_size, master) for _ in range(world_size)]


def test_nobody_goes_on_before_all_have_come_and_meetings_do_not_mix() -> None:
    early, other, late = ranks(3)
    for _ in range(3):
        waiting = [early.meet(), other.meet()]
        waiting[0].join(4 * BEAT_S)
        assert all(thread.is_alive() for thread in waiting)
        late.gathering.meet()
        for thread in waiting:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_who_waits_for_one_that_works_is_alive_and_silent_when_nobody_works() -> None:
    waiting, working = ranks(2)
    thread = waiting.meet()
    assert not waiting.alive.acquire(timeout=6 * BEAT_S), "nobody works"
    with working.gathering.beating():
        for rank in (working, waiting, waiting):
            assert rank.alive.acquire(timeout=PATIENCE_S)
    working.gathering.meet()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_one_rank_waits_for_nobody() -> None:
    (alone,) = ranks(1)
    alone.gathering.meet()
    with alone.gathering.beating():
        assert alone.alive.acquire(timeout=PATIENCE_S)

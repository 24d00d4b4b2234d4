"""Ranks agree where to stop: all run the same steps, whatever each was doing when it heard."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch.distributed

from trainmaster.sdk.agreement import StopAgreement, Store

NUM_STEPS = 30
TIMEOUT_S = 30.0


def new_store(port: int = 0, *, is_master: bool = False) -> Any:
    return torch.distributed.TCPStore("127.0.0.1", port, is_master=is_master, wait_for_workers=False)  # type: ignore[attr-defined]


def refuse() -> Store:
    raise AssertionError("a trial of one rank needs no store")


def train(
    agreement: StopAgreement, collective: threading.Barrier, stop_at: int, stop: threading.Event, loop_steps: int
) -> list[int]:
    """Run the steps as a rank does, in loops of so many; each step has a collective operation that needs all ranks."""
    trained: list[int] = []
    for step in range(1, NUM_STEPS + 1):
        if not agreement.begin(step):
            break
        if step == stop_at:
            stop.set()
        collective.wait(TIMEOUT_S)
        trained.append(step)
        if step % loop_steps == 0:
            agreement.leave()
    agreement.leave()
    return trained


@pytest.mark.parametrize("loop_steps", [1, 5, NUM_STEPS + 1])
@pytest.mark.parametrize("seed", range(8))
def test_all_ranks_stop_after_the_same_step(seed: int, loop_steps: int) -> None:
    chance = random.Random(seed)
    num_ranks = chance.randint(2, 4)
    stop_at = chance.choice([1, 2, 15, NUM_STEPS - 1, NUM_STEPS])
    master = new_store(is_master=True)
    agreements = [
        StopAgreement(rank=rank, world_size=num_ranks, begun=0, store=lambda: new_store(master.port))
        for rank in range(num_ranks)
    ]
    collective, stop = threading.Barrier(num_ranks), threading.Event()

    def hear(agreement: StopAgreement) -> None:
        assert stop.wait(TIMEOUT_S)
        agreement.request()
        agreement.request()

    with ThreadPoolExecutor(2 * num_ranks) as pool:
        heard = [pool.submit(hear, agreement) for agreement in chance.sample(agreements, num_ranks)]
        steps_by_rank = list(
            pool.map(lambda agreement: train(agreement, collective, stop_at, stop, loop_steps), agreements)
        )
        for future in heard:
            future.result(TIMEOUT_S)
    assert steps_by_rank == [steps_by_rank[0]] * num_ranks
    assert stop_at <= len(steps_by_rank[0]) <= NUM_STEPS


def test_ranks_stop_though_one_of_them_has_left_its_loop() -> None:
    master = new_store(is_master=True)
    late, done = (
        StopAgreement(rank=rank, world_size=2, begun=0, store=lambda: new_store(master.port)) for rank in range(2)
    )
    for agreement in (late, done):
        assert agreement.begin(1)
    done.leave()
    late.request()
    assert not late.begin(2)


def test_what_was_published_at_the_end_of_a_loop_does_not_count_in_the_next() -> None:
    master = new_store(is_master=True)
    behind, ahead = (
        StopAgreement(rank=rank, world_size=2, begun=0, store=lambda: new_store(master.port)) for rank in range(2)
    )
    for agreement in (behind, ahead):
        assert agreement.begin(1)
        agreement.leave()
    assert behind.begin(2) and ahead.begin(2) and ahead.begin(3)
    with ThreadPoolExecutor(2) as pool:
        for heard in [pool.submit(behind.request), pool.submit(ahead.request)]:
            heard.result(TIMEOUT_S)
    assert behind.begin(3)
    assert not behind.begin(4) and not ahead.begin(4)


def test_a_stop_that_one_rank_heard_in_a_loop_and_another_in_the_next_stops_both_at_one_step() -> None:
    master = new_store(is_master=True)
    behind, ahead = (
        StopAgreement(rank=rank, world_size=2, begun=0, store=lambda: new_store(master.port)) for rank in range(2)
    )
    assert behind.begin(1) and ahead.begin(1)
    ahead.leave()
    assert ahead.begin(2)
    with ThreadPoolExecutor(1) as pool:
        behind.request()
        behind.leave()
        heard = pool.submit(ahead.request)
        assert behind.begin(2)
        heard.result(TIMEOUT_S)
    assert not behind.begin(3) and not ahead.begin(3)


def test_a_rank_that_hears_of_a_stop_after_its_last_loop_does_not_wait_for_the_others() -> None:
    master = new_store(is_master=True)
    first, second = (
        StopAgreement(rank=rank, world_size=2, begun=0, store=lambda: new_store(master.port)) for rank in range(2)
    )
    assert first.begin(1) and second.begin(1)
    first.leave()
    second.request()
    second.leave()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(first.request).result(TIMEOUT_S)


def test_a_single_rank_stops_before_its_next_step() -> None:
    agreement = StopAgreement(rank=0, world_size=1, begun=4, store=refuse)
    assert agreement.begin(5)
    agreement.request()
    assert not agreement.begin(6)
    agreement.leave()

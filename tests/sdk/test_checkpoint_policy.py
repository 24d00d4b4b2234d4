"""Ranks agree after which validations they save, over a real rendezvous store."""

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch.distributed

from trainmaster.sdk.assignment import Assignment
from trainmaster.sdk.checkpoint_policy import CheckpointPolicy
from trainmaster.sdk.gathering import Gathering

PATIENCE_S = 20.0

OUTSIDE = Assignment.outside_a_cluster()


def ranks(
    num_ranks: int,
    policy: str,
    timeout_s: float = 20.0,
    *,
    say_alive: Callable[[], None] = lambda: None,
    stall_timeout_s: float = math.inf,
    num_on_an_agent: int | None = None,
) -> list[CheckpointPolicy]:
    master: Any = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    told = replace(
        OUTSIDE, world_size=num_ranks, local_world_size=num_on_an_agent or num_ranks, checkpoint_policy=policy,
        metric="loss", smaller_is_better=True, stall_timeout_s=stall_timeout_s,
    )  # fmt: skip
    return [
        CheckpointPolicy(
            replace(told, rank=rank),
            Gathering(world_size=num_ranks, store=lambda: master, say_alive=say_alive, stall_timeout_s=stall_timeout_s),
            timeout_s=timeout_s,
        )
        for rank in range(num_ranks)
    ]


def verdicts(policies: list[CheckpointPolicy], step: int) -> list[bool]:
    """Ask all ranks at once, as they come to the end of a step."""
    found: dict[int, bool] = {}

    def asking(rank: int) -> Callable[[], None]:
        return lambda: found.update({rank: policies[rank].is_due(step)})

    threads = [threading.Thread(target=asking(rank)) for rank in range(len(policies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [found[rank] for rank in range(len(policies))]


def test_all_ranks_follow_what_rank_0_saw() -> None:
    policies = ranks(3, "best")
    for step, loss, is_due in ((1, 0.5, True), (2, 0.6, False), (3, 0.4, True)):
        for rank, policy in enumerate(policies):
            policy.note(step, {"loss": loss if rank == 0 else 9.0 - step})  # only rank 0's value counts
        assert verdicts(policies, step) == [is_due] * 3
    assert verdicts(policies, 4) == [False] * 3
    assert policies[0].best == ("loss", 0.4)


def test_where_only_rank_0_validates_nothing_is_saved_and_nobody_waits(capfd: pytest.CaptureFixture[str]) -> None:
    policies = ranks(2, "all", timeout_s=0.2)
    policies[0].note(1, {"loss": 0.5})
    assert verdicts(policies, 1) == [False, False]
    assert "because not every rank called trial.report_validation within 0.2 s" in capfd.readouterr().err
    policies[0].note(2, {"loss": 0.4})
    assert verdicts(policies, 2) == [False, False]


def test_rank_0_is_alive_while_it_waits_for_the_others() -> None:
    alive = threading.Semaphore(0)
    policies = ranks(2, "all", timeout_s=PATIENCE_S, say_alive=alive.release, stall_timeout_s=0.2)
    for policy in policies:
        policy.note(1, {"loss": 0.5})
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(policies[0].is_due(1)))
    waiting.start()
    for _ in range(3):
        assert alive.acquire(timeout=PATIENCE_S)
    assert policies[1].is_due(1)
    waiting.join(PATIENCE_S)
    assert found == [True]


def test_rank_0_gives_up_before_the_ranks_on_other_agents_count_as_hung(capfd: pytest.CaptureFixture[str]) -> None:
    policies = ranks(2, "all", stall_timeout_s=0.6, num_on_an_agent=1)
    policies[0].note(1, {"loss": 0.5})
    assert verdicts(policies, 1) == [False, False]
    assert "because not every rank called trial.report_validation within 0.3 s" in capfd.readouterr().err


def test_when_one_rank_is_late_all_give_up_and_nobody_waits_at_the_next_validation() -> None:
    late, others = 2, (0, 1)
    policies = ranks(3, "all", timeout_s=0.2)
    for policy in policies:
        policy.note(1, {"loss": 0.5})
    found = verdicts([policies[rank] for rank in others], 1)
    assert found == [False, False]
    assert not policies[late].is_due(1)
    for step in (2, 3):
        for policy in policies:
            policy.note(step, {"loss": 0.4})
        assert verdicts(policies, step) == [False] * 3


def test_a_metric_that_is_missing_or_not_finite_is_never_the_best() -> None:
    (policy,) = ranks(1, "best")
    for step, metrics in enumerate(({"accuracy": 1.0}, {"loss": float("nan")}), start=1):
        policy.note(step, metrics)
        assert not policy.is_due(step)
    assert policy.best is None

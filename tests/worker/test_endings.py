"""How a trial ended, told from how its processes ended."""

import signal

import pytest

from services.worker.allocation import MemberExit
from services.worker.decide import KillReason
from services.worker.endings import Bye, Ending, Fault, RankExit, error_of, gang_ending, local_ending
from shared.events import FailureCause, Outcome
from shared.ids import AgentId

TRACEBACK = ("some output", "Traceback (most recent call last):", '  File "main.py", line 1', "ValueError: bad")
PEER_LOST = (
    "Traceback (most recent call last):",
    "RuntimeError: [../gloo/pair.cc:544] Connection closed by peer [127.0.0.1]:5",
)
COMPLETED, PREEMPTED = Bye(outcome=Outcome.COMPLETED, step=9), Bye(outcome=Outcome.PREEMPTED, step=5)


def member(outcome: Outcome | None, error: str | None = None) -> MemberExit:
    return MemberExit(agent_id=AgentId("b"), seq=1, outcome=outcome, error=error)


def test_ranks_that_exit_well_complete_with_or_without_a_word() -> None:
    exits = [RankExit(rank=0, code=0), RankExit(rank=1, code=0)]
    assert local_ending(exits, {}) == Ending(outcome=Outcome.COMPLETED, exit_code=0)
    assert local_ending(exits, {0: COMPLETED, 1: COMPLETED}) == Ending(outcome=Outcome.COMPLETED, exit_code=0)


def test_ranks_that_stop_on_request_are_preempted_at_their_step() -> None:
    exits = [RankExit(rank=0, code=0), RankExit(rank=1, code=0)]
    assert local_ending(exits, {0: PREEMPTED, 1: PREEMPTED}, is_stopping=True) == Ending(
        outcome=Outcome.PREEMPTED, step=5
    )


def test_a_trial_that_was_done_when_asked_to_stop_has_completed() -> None:
    assert local_ending([RankExit(rank=0, code=0)], {0: COMPLETED}, is_stopping=True).outcome is Outcome.COMPLETED


def test_ranks_killed_because_they_did_not_stop_are_preempted_at_no_step() -> None:
    exits = [RankExit(rank=0, code=0), RankExit(rank=1, code=-9, signalled=True)]
    assert local_ending(exits, {0: PREEMPTED}, is_stopping=True) == Ending(outcome=Outcome.PREEMPTED)


def test_a_stop_before_any_rank_ran_is_a_preemption() -> None:
    assert local_ending((), {}, is_stopping=True) == Ending(outcome=Outcome.PREEMPTED)


def test_a_crash_while_stopping_is_still_a_crash() -> None:
    ending = local_ending([RankExit(rank=0, code=1, stderr=TRACEBACK)], {}, is_stopping=True)
    assert (ending.outcome, ending.exit_code) == (Outcome.FAILED, 1)


def test_the_first_failure_is_the_cause() -> None:
    exits = [
        RankExit(rank=1, code=1, stderr=TRACEBACK),
        RankExit(rank=0, code=-15, signalled=True, stderr=("something else",)),
    ]
    ending = local_ending(exits, {})
    assert ending.error == "rank 1 exited with code 1\n" + "\n".join(TRACEBACK[1:])


def test_a_lost_peer_is_not_the_cause_when_there_is_another() -> None:
    exits = [
        RankExit(rank=0, code=1, stderr=PEER_LOST),
        RankExit(rank=1, code=1, signalled=True, stderr=TRACEBACK),
    ]
    ending = local_ending(exits, {})
    assert ending.error is not None and ending.error.startswith("rank 1 ")
    assert (local_ending(exits[:1], {}).error or "").startswith("rank 0 ")


def test_when_the_processes_parent_died_the_trial_is_interrupted() -> None:
    assert local_ending([RankExit(rank=0, code=None)], {}).outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (KillReason.AGENT_LOST, Outcome.PREEMPTED),
        (KillReason.MEMBER_ENDED, Outcome.INTERRUPTED),
        (KillReason.CHIEF_GONE, Outcome.INTERRUPTED),
    ],
)
def test_a_kill_decides_the_outcome(reason: KillReason, outcome: Outcome) -> None:
    exits = [RankExit(rank=0, code=1, stderr=PEER_LOST), RankExit(rank=1, code=-9, signalled=True)]
    assert local_ending(exits, {}, kill=reason).outcome is outcome


def test_the_trials_own_mistake_is_a_failure() -> None:
    ending = local_ending([RankExit(rank=0, code=-15, signalled=True)], {}, fault=Fault(error="bad checkpoint"))
    assert ending == Ending(outcome=Outcome.FAILED, error="bad checkpoint")


def test_what_could_not_be_stored_keeps_a_trial_from_being_completed() -> None:
    exits = [RankExit(rank=0, code=0)]
    assert local_ending(exits, {0: COMPLETED}, is_stopping=True, is_stored=False) == Ending(outcome=Outcome.PREEMPTED)
    assert local_ending(exits, {0: PREEMPTED}, is_stopping=True, is_stored=False) == Ending(outcome=Outcome.PREEMPTED)
    ending = local_ending(exits, {0: COMPLETED}, is_stored=False)
    assert ending.outcome is Outcome.INTERRUPTED and "could not be stored" in (ending.error or "")


@pytest.mark.parametrize("reason", [KillReason.VOID, KillReason.MEMBER_ENDED, KillReason.CHIEF_GONE])
def test_an_interruption_always_says_why(reason: KillReason) -> None:
    assert local_ending((), {}, kill=reason).error == str(reason)
    assert gang_ending(local_ending((), {}, kill=reason), [member(Outcome.INTERRUPTED)]).error
    assert gang_ending(Ending(outcome=Outcome.COMPLETED), [member(Outcome.INTERRUPTED)]).error


def test_the_end_of_other_ranks_is_not_why_a_gang_is_interrupted() -> None:
    local = local_ending((), {}, kill=KillReason.MEMBER_ENDED)
    assert gang_ending(local, [member(Outcome.INTERRUPTED, "no space left")]).error == "agent b: no space left"


def test_a_signal_is_named_and_want_of_memory_suspected() -> None:
    killed = RankExit(rank=3, code=-signal.SIGKILL, stderr=("last words",), out_of_memory=True)
    assert error_of(killed).splitlines()[0].startswith("rank 3 was killed by signal 9 (SIGKILL); the kernel killed")
    assert error_of(RankExit(rank=3, code=-11)) == "rank 3 was killed by signal 11 (SIGSEGV)"


def test_a_traceback_is_found_where_torch_marks_it() -> None:
    failed = RankExit(rank=1, code=1, stderr=tuple(f"[rank1]: {line}" for line in TRACEBACK))
    assert error_of(failed).splitlines()[1:] == list(TRACEBACK[1:])


def test_a_long_error_keeps_its_end() -> None:
    error = error_of(RankExit(rank=0, code=1, stderr=("x" * 100_000, "the end")))
    assert len(error) < 10_000 and error.endswith("the end")


def test_a_gang_completes_when_all_have() -> None:
    local = Ending(outcome=Outcome.COMPLETED, exit_code=0)
    assert gang_ending(local, []) == gang_ending(local, [member(Outcome.COMPLETED)]) == local


def test_a_gangs_cause_may_lie_on_another_agent() -> None:
    local = Ending(outcome=Outcome.FAILED, exit_code=1, error="\n".join(PEER_LOST))
    ending = gang_ending(local, [member(Outcome.FAILED, "rank 2 exited with code 1\nValueError: bad")])
    assert ending.error == "agent b: rank 2 exited with code 1\nValueError: bad"


def test_ranks_interrupted_because_of_a_failure_elsewhere_do_not_hide_it() -> None:
    local = Ending(outcome=Outcome.INTERRUPTED)
    assert gang_ending(local, [member(Outcome.FAILED, "bad")]).outcome is Outcome.FAILED
    failed = Ending(outcome=Outcome.FAILED, error="bad")
    assert gang_ending(failed, [member(Outcome.INTERRUPTED)]) == failed


def test_a_gang_is_preempted_at_a_step_only_if_all_stopped_there() -> None:
    stopped = Ending(outcome=Outcome.PREEMPTED, step=5)
    assert gang_ending(stopped, [member(Outcome.PREEMPTED)]) == stopped
    assert gang_ending(stopped, [member(Outcome.INTERRUPTED)]) == Ending(outcome=Outcome.PREEMPTED)


def test_an_agent_that_leaves_takes_the_gang_with_it() -> None:
    killed = Ending(outcome=Outcome.INTERRUPTED)
    assert gang_ending(killed, [member(Outcome.PREEMPTED)]) == Ending(outcome=Outcome.PREEMPTED)


def test_a_lost_agent_means_the_trial_goes_again() -> None:
    for local in (Outcome.COMPLETED, Outcome.FAILED, Outcome.INTERRUPTED):
        assert gang_ending(Ending(outcome=local), [member(None)]) == Ending(outcome=Outcome.PREEMPTED)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", FailureCause.GPU_MEMORY),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory.", FailureCause.GPU_MEMORY),
        ("RuntimeError: CUDA error: out of memory", FailureCause.GPU_MEMORY),
        ("MemoryError", FailureCause.HOST_MEMORY),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7 TiB", FailureCause.HOST_MEMORY),
        ("RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried", FailureCause.HOST_MEMORY),
        ("OSError: [Errno 12] Cannot allocate memory", FailureCause.HOST_MEMORY),
        ("ValueError: a MemoryError of a poem", None),
    ],
)
def test_a_lack_of_memory_is_recognised_by_its_last_words(words: str, cause: FailureCause | None) -> None:
    ended = RankExit(rank=2, code=1, stderr=("Traceback (most recent call last):", "  File 'x'", words))
    ending = local_ending([ended], {})
    assert (ending.outcome, ending.cause) == (Outcome.FAILED, cause)
    last = (ending.error or "").splitlines()[-1]
    assert last == (words if cause is None else f"rank 2 ran {cause}")


def test_a_process_killed_by_the_kernel_for_want_of_memory_says_so_last() -> None:
    ended = RankExit(rank=0, code=-signal.SIGKILL, stderr=("loading",), out_of_memory=True)
    ending = local_ending([ended], {})
    assert ending.cause is FailureCause.HOST_MEMORY
    assert (ending.error or "").splitlines()[-1] == "rank 0 ran out of host memory"
    assert local_ending([RankExit(rank=0, code=-signal.SIGKILL)], {}).cause is None


def test_what_another_agent_recognised_is_told() -> None:
    there = MemberExit(agent_id=AgentId("b"), seq=1, outcome=Outcome.FAILED, error="x", cause=FailureCause.GPU_MEMORY)
    here = Ending(outcome=Outcome.INTERRUPTED, error=str(KillReason.MEMBER_ENDED))
    assert gang_ending(here, [there]).cause is FailureCause.GPU_MEMORY

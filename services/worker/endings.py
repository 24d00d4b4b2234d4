"""How a trial's processes ended, told from how each of them ended. Pure.

The root cause is the first failure that is a cause: when one rank fails, its peers fail soon after, or even report it
sooner, because their connections to it break. Such failures count only if there is no other.
"""

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.worker.allocation import MemberExit
from services.worker.decide import KillReason
from shared.events import FailureCause, Outcome
from shared.ids import AgentId

MAX_ERROR_CHARS = 8 * 1024

_TRACEBACK = re.compile(r"(?:\[rank\d+\]: )?Traceback \(most recent call last\):")
_TORCH_PREFIX = re.compile(r"^\[rank\d+\]: ")  # torch.distributed marks an uncaught exception so
_PEER_LOSS = re.compile(
    r"connection (was )?(closed|reset|refused|aborted)|broken pipe|remote process exited|socket timeout"
    r"|recvValue failed|failed to recv|NCCL.*(remote|timeout|timed out|aborted)|DistNetworkError|DistStoreError"
    r"|nobody supervises",
    re.IGNORECASE,
)


_NO_GPU_MEMORY = re.compile(
    r"CUDA out of memory|HIP out of memory|torch(\.cuda)?\.OutOfMemoryError|CUDA error: out of memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|RESOURCE_EXHAUSTED: Out of memory"
)
_NO_HOST_MEMORY = re.compile(
    r"^(\w+\.)*_?(Array)?MemoryError\b|DefaultCPUAllocator: (can't allocate|not enough) memory|std::bad_alloc"
    r"|OSError: \[Errno 12\]|Cannot allocate memory",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankExit:
    """How one rank ended: its exit code, negative for a signal, None if its parent died; `signalled` if we had
    signalled it before; the last lines of its stderr."""

    rank: int
    code: int | None
    signalled: bool = False
    stderr: tuple[str, ...] = ()
    out_of_memory: bool = False  # the kernel killed some process for want of memory while this one ran


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """What a rank said before it exited."""

    outcome: Outcome
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a share of a gang, or the whole gang, ended."""

    outcome: Outcome
    exit_code: int | None = None
    error: str | None = None
    step: int | None = None  # where a preempted trial stopped
    rank: int | None = None  # whose failure was the root cause
    agent_id: AgentId | None = None  # where, if not here
    cause: FailureCause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A trial's mistake that we ended it for."""

    error: str
    cause: FailureCause | None = None


def local_ending(
    exits: Sequence[RankExit],
    byes: Mapping[int, Bye],
    *,
    is_stopping: bool = False,
    kill: KillReason | None = None,
    fault: Fault | None = None,
    is_stored: bool = True,
) -> Ending:
    """Return how this agent's ranks ended. `exits` in the order they came; `fault` is the trial's mistake that we
    ended it for; `is_stored`: nothing that they said or wrote had to be given up."""
    match kill:
        case KillReason.AGENT_LOST:
            return Ending(outcome=Outcome.PREEMPTED)
        case KillReason.VOID:
            return Ending(outcome=Outcome.INTERRUPTED, error=str(kill))
    cause = root_cause(exits)
    if fault is not None:
        return Ending(outcome=Outcome.FAILED, error=fault.error, cause=fault.cause)
    if kill is not None and (cause is None or is_peer_loss(error_of(cause))):
        return Ending(outcome=Outcome.INTERRUPTED, error=str(kill))
    if cause is not None:
        return Ending(
            outcome=Outcome.FAILED,
            exit_code=cause.code,
            error=error_of(cause),
            rank=cause.rank,
            cause=memory_shortage(cause),
        )
    if any(ended.code is None for ended in exits):
        return Ending(outcome=Outcome.INTERRUPTED, error="the process that starts the ranks on this agent died")
    if is_stopping and not (is_stored and byes and all(bye.outcome is Outcome.COMPLETED for bye in byes.values())):
        return Ending(outcome=Outcome.PREEMPTED, step=_stopped_at(exits, byes) if is_stored else None)
    if not is_stored:
        return Ending(outcome=Outcome.INTERRUPTED, error="what the ranks said or wrote last could not be stored")
    return Ending(outcome=Outcome.COMPLETED, exit_code=0)


def gang_ending(local: Ending, members: Sequence[MemberExit]) -> Ending:
    """Return how the whole gang ended, from the chief's own ranks and what the other agents said."""
    if any(member.outcome is None for member in members):
        return Ending(outcome=Outcome.PREEMPTED)
    others = [_ending_of(member) for member in members]
    everyone = [local, *others]
    failures = [ending for ending in everyone if ending.outcome is Outcome.FAILED]
    if failures:
        return next((failure for failure in failures if not is_peer_loss(failure.error or "")), failures[0])
    if all(ending.outcome is Outcome.COMPLETED for ending in everyone):
        return local
    if interrupted := [ending for ending in everyone if ending.outcome is Outcome.INTERRUPTED]:
        was_asked = any(ending.outcome is Outcome.PREEMPTED for ending in everyone)
        return Ending(outcome=Outcome.PREEMPTED) if was_asked else _first_interruption(interrupted)
    return local if local.outcome is Outcome.PREEMPTED else Ending(outcome=Outcome.PREEMPTED)


def _first_interruption(interrupted: Sequence[Ending]) -> Ending:
    """Return an interruption that is a cause, if there is one: not the end of other ranks."""
    causes = [ending for ending in interrupted if ending.error != str(KillReason.MEMBER_ENDED)]
    return causes[0] if causes else interrupted[0]


def root_cause(exits: Sequence[RankExit]) -> RankExit | None:
    """Return the failure that came first, but rather one that is not about a lost peer; None if no rank failed."""
    failures = [ended for ended in exits if ended.code and not ended.signalled]
    if not failures:
        return None
    signalled = [ended for ended in exits if ended.signalled and (ended.code or 0) > 0 and traceback_in(ended.stderr)]
    causes = [ended for ended in (*failures, *signalled) if not is_peer_loss(error_of(ended))]
    return causes[0] if causes else failures[0]


def is_peer_loss(error: str) -> bool:
    """Say whether an error's last lines complain about another rank's connection."""
    return _PEER_LOSS.search("\n".join(error.splitlines()[-3:])) is not None


def error_of(ended: RankExit) -> str:
    """Return what to tell about a failed rank: its traceback, else how it was killed, else its last words."""
    if ended.code is not None and ended.code < 0:
        head = f"rank {ended.rank} was killed by signal {-ended.code} ({_signal_name(-ended.code)})"
        if ended.code == -signal.SIGKILL and ended.out_of_memory:
            head += "; the kernel killed a process for want of memory at that time, so this was likely it"
    else:
        head = f"rank {ended.rank} exited with code {ended.code}"
    words = "\n".join(traceback_in(ended.stderr) or ended.stderr)
    shortage = memory_shortage(ended)  # said last as well: that line stands for the whole where there is room for one
    tail = f"\nrank {ended.rank} ran {shortage}" if shortage else ""
    return f"{head}\n{words[-MAX_ERROR_CHARS:]}".rstrip() + tail


def memory_shortage(ended: RankExit) -> FailureCause | None:
    """Return which memory a rank lacked, if it failed of that: by its last words, or because the kernel killed it."""
    words = "\n".join(traceback_in(ended.stderr) or ended.stderr)
    if _NO_GPU_MEMORY.search(words):
        return FailureCause.GPU_MEMORY
    was_killed = ended.code == -signal.SIGKILL and ended.out_of_memory
    return FailureCause.HOST_MEMORY if was_killed or _NO_HOST_MEMORY.search(words) else None


def traceback_in(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the last traceback in the lines, to their end; empty if there is none."""
    starts = [number for number, line in enumerate(lines) if _TRACEBACK.match(line)]
    return tuple(_TORCH_PREFIX.sub("", line) for line in lines[starts[-1] :]) if starts else ()


def _stopped_at(exits: Sequence[RankExit], byes: Mapping[int, Bye]) -> int | None:
    if not byes or len(byes) < len(exits) or any(ended.signalled for ended in exits):
        return None
    return min(bye.step for bye in byes.values())


def _ending_of(member: MemberExit) -> Ending:
    assert member.outcome is not None
    error = member.error
    if error is None and member.outcome in (Outcome.FAILED, Outcome.INTERRUPTED):
        error = "its ranks ended, it did not say why"
    told = f"agent {member.agent_id}: {error}" if error else None
    return Ending(
        outcome=member.outcome,
        exit_code=member.exit_code,
        error=told,
        rank=member.rank,
        agent_id=member.agent_id,
        cause=member.cause,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"

"""What it means that a trial's processes ended by themselves."""

import msgspec

from shared.events import Outcome, TrialExited
from shared.ids import AgentId

MAX_REASON = 500
MAX_INTERRUPTIONS = 10  # in a row; then it is no accident any more
MAX_LOSSES = 20  # the same of agents; more, for machines that can be taken away at any time are lost innocently


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """A trial's processes ended by themselves, and nothing was decided about it yet."""

    has_completed: bool
    reason: str
    seq: int
    is_final: bool = False  # trying again would not help
    agent_id: AgentId | None = None  # the rest is about the root cause of a failure
    rank: int | None = None
    exit_code: int | None = None
    line: str | None = None


def exit_of(interruptions: int, event: TrialExited, seq: int) -> Exit | None:
    """Return what needs a decision: nothing does when the trial was asked to stop or its machine was at fault, unless
    that has happened so often that the trial must be the cause."""
    match event.outcome:
        case Outcome.COMPLETED:
            return Exit(has_completed=True, reason="the training script ended", seq=seq)
        case Outcome.FAILED:
            return _failed(event, _failure(event), seq, is_final=False)
        case Outcome.INTERRUPTED if interruptions >= MAX_INTERRUPTIONS:
            reason = f"interrupted {interruptions} times without a validation, the last with {_failure(event)}"
            return _failed(event, reason, seq, is_final=True)
        case Outcome.PREEMPTED | Outcome.INTERRUPTED:
            return None


def lost(losses: int, seq: int) -> Exit | None:
    """Return what needs a decision when a trial's agent was lost: nothing, unless that has happened so often that the
    trial must be what takes its agents down."""
    if losses < MAX_LOSSES:
        return None
    reason = f"its agents were lost {losses} times in a row, without a validation or a checkpoint in between"
    return Exit(has_completed=False, reason=reason, seq=seq, is_final=True)


def _failed(event: TrialExited, reason: str, seq: int, *, is_final: bool) -> Exit:
    return Exit(
        has_completed=False,
        reason=reason,
        seq=seq,
        is_final=is_final,
        agent_id=event.failed_agent_id or event.agent_id,
        rank=event.rank,
        exit_code=event.exit_code,
        line=_last_line(event),
    )


def _failure(event: TrialExited) -> str:
    """Return a line about a failure: the exit code and the last line of the error, which names the exception."""
    code, line = "no exit code" if event.exit_code is None else f"exit code {event.exit_code}", _last_line(event)
    return f"{code}: {line}" if line else code


def _last_line(event: TrialExited) -> str | None:
    lines = [line.strip() for line in (event.error or "").splitlines() if line.strip()]
    return lines[-1][:MAX_REASON] if lines else None

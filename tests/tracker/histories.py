"""Random histories of a small cluster: anything may follow on anything, also what no decider would ever say."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from shared import codec
from shared.events import (
    AgentLeft,
    AgentLost,
    Event,
    ExperimentCanceled,
    ExperimentCompleted,
    ExperimentFailed,
    ExperimentPaused,
    ExperimentResumed,
    ExperimentStopped,
    Outcome,
    PreemptionReason,
    PreemptionRequested,
    TrialEnd,
    TrialExtended,
    TrialPreempted,
    TrialRetried,
    TrialStopped,
)
from shared.ids import allocation_id
from shared.log import Message, envelope_of
from tests.shared.samples import SAMPLES
from tests.tracker import story

BEGINNING = (story.agent_joined(), story.submitted(), story.requested(1), story.requested(2))
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

_index, _epoch, _step = st.integers(1, 3), st.integers(1, 3), st.integers(1, 40)
_incarnation = st.sampled_from([story.INCARNATION, "ffffffffffff"])
_metric = st.floats(0, 1, allow_nan=False)
_words = st.sampled_from(["because", "none too soon", "it was best"])


def _about_experiments() -> st.SearchStrategy[Event]:
    moves = (ExperimentPaused, ExperimentResumed, ExperimentCanceled, ExperimentStopped)
    return st.one_of(
        st.sampled_from([move(experiment_id=story.EXPERIMENT) for move in moves]),
        st.builds(
            ExperimentCompleted,
            experiment_id=st.just(story.EXPERIMENT),
            best_trial_id=_index.map(story.trial),
            best_metric=_metric,
        ),
        st.builds(ExperimentFailed, experiment_id=st.just(story.EXPERIMENT), reason=_words),
    )


def _about_trials() -> st.SearchStrategy[Event]:
    ours = {"experiment_id": st.just(story.EXPERIMENT), "trial_id": _index.map(story.trial), "reason": _words}
    return st.one_of(
        st.builds(story.requested, _index),
        st.builds(TrialRetried, **ours, restarts=st.integers(1, 3)),
        st.builds(TrialExtended, **ours, rung=st.integers(0, 3), target=_step),
        st.builds(TrialStopped, **ours, rung=st.just(1)),
        st.builds(story.closed, _index, st.sampled_from(list(TrialEnd)), _metric),
    )


def _preempted(index: int, epoch: int, step: int) -> Event:
    return TrialPreempted(**story._speaking(index, epoch), step=step)


def _stopping(index: int, epoch: int) -> Event:
    return PreemptionRequested(
        pool_id=story.POOL,
        allocation_id=allocation_id(story.trial(index), epoch),
        trial_id=story.trial(index),
        reason=next(iter(PreemptionReason)),
        timeout_s=30.0,
    )


def _about_attempts() -> st.SearchStrategy[Event]:
    return st.one_of(
        st.builds(story.allocated, _index, _epoch, st.sampled_from([(0,), (1,), (0, 1)])),
        st.builds(story.started, _index, _epoch),
        st.builds(story.reported, _step, _metric, _index, _epoch),
        st.builds(story.saved, _step, _index, _epoch),
        st.builds(_stopping, _index, _epoch),
        st.builds(_preempted, _index, _epoch, _step),
        st.builds(story.exited, _index, _epoch, st.sampled_from(list(Outcome)), st.none() | _words),
        st.builds(story.released, _index, _epoch),
    )


def _about_agents() -> st.SearchStrategy[Event]:
    return st.one_of(
        st.builds(story.agent_joined, st.integers(0, 3), _incarnation),
        st.builds(AgentLeft, agent_id=st.just(story.AGENT), incarnation=_incarnation, reason=_words),
        st.builds(
            AgentLost,
            pool_id=st.just(story.POOL),
            agent_id=st.just(story.AGENT),
            incarnation=_incarnation,
            silent_s=st.just(9.0),
        ),
    )


def _life(index: int) -> st.SearchStrategy[list[Event]]:
    """What a trial may go through, in order: two attempts, of which any part may be missing."""
    attempts = [
        st.tuples(
            st.just(story.allocated(index, epoch, (index - 1,))),
            st.just(story.started(index, epoch)),
            st.builds(story.reported, _step, _metric, st.just(index), st.just(epoch)),
            st.builds(story.saved, _step, st.just(index), st.just(epoch)),
            st.just(_stopping(index, epoch)),
            st.builds(_preempted, st.just(index), st.just(epoch), _step),
            st.just(story.exited(index, epoch)),
            st.just(story.released(index, epoch)),
        )
        for epoch in (1, 2)
    ]
    whole = st.tuples(*attempts).map(lambda two: [*two[0], *two[1], story.closed(index)])
    kept = st.lists(st.integers(0, 4).map(bool), min_size=17, max_size=17)  # four of five
    return st.builds(lambda events, keep: [e for e, is_kept in zip(events, keep, strict=True) if is_kept], whole, kept)


@st.composite
def histories(draw: st.DrawFn, max_noise: int = 15) -> list[Event]:
    """Histories of a search with two trials, between other events of every type: anything may come at any time."""
    noise = st.lists(
        st.one_of(_about_attempts(), _about_trials(), _about_experiments(), _about_agents(), st.sampled_from(SAMPLES)),
        max_size=max_noise,
    )
    streams = [draw(_life(1)), draw(_life(2)), draw(noise)]
    merged = list(BEGINNING)
    turns = draw(st.permutations([number for number, stream in enumerate(streams) for _ in stream]))
    waiting = [iter(stream) for stream in streams]
    return merged + [next(waiting[turn]) for turn in turns]


def messages(events: Sequence[Event], sequences: Sequence[int] | None = None) -> list[Message]:
    """The events as the log would deliver them, one second apart."""
    return [_message(seq, event) for seq, event in zip(sequences or range(1, len(events) + 1), events, strict=True)]


def _message(seq: int, event: Event) -> Message:
    at = EPOCH + timedelta(seconds=seq)
    envelope = envelope_of(event, writer=event.rightful_writer, actor="test", correlation="-", time=at)
    return Message(seq=seq, subject=str(envelope.subject), body=codec.encode(envelope), stored_ns=0)

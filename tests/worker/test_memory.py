"""What an agent remembers of the log when it starts again."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.memory import Memory
from services.worker.state import State, evolve
from shared.events import AgentJoined, TrialExited, TrialRequested
from shared.ids import AgentId
from shared.log import decode_recorded
from tests.tracker.histories import histories, messages
from tests.worker.cluster import Cluster
from tests.worker.scripts import script

STREAM = "EVENTS created once"


def new_state() -> State:
    """The state of an agent that has just started."""
    return State(agent_id=AgentId("a1"), incarnation="a new one")


@given(events=histories(), data=st.data())
def test_a_snapshot_and_the_rest_of_the_log_make_the_state_that_the_whole_log_makes(
    tmp_path_factory: pytest.TempPathFactory, events: list[object], data: st.DataObject
) -> None:
    recorded = [decode_recorded(message) for message in messages(events)]  # type: ignore[arg-type] # all are events
    position = data.draw(st.integers(1, len(recorded)))
    directory = tmp_path_factory.mktemp("agent")
    before, whole, resumed = new_state(), new_state(), new_state()
    for one in recorded[:position]:
        evolve(before, one)
    Memory(directory, STREAM).save(before, position)
    assert Memory(directory, STREAM).restore(resumed) == position
    for one in recorded[position:]:
        evolve(resumed, one)
    for one in recorded:
        evolve(whole, one)
    assert (resumed.experiments, resumed.trials) == (whole.experiments, whole.trials)
    assert resumed.allocations == whole.allocations == {}, "of an incarnation that nobody gave anything"


def test_the_snapshot_of_another_log_is_not_taken(tmp_path: Path) -> None:
    state = new_state()
    Memory(tmp_path, STREAM).save(state, 7)
    assert Memory(tmp_path, "EVENTS created again").restore(new_state()) == 0


async def test_an_agent_that_starts_again_runs_what_it_remembers(tm: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services.worker.memory")
    await tm.submit(script('say("bye", outcome="completed", step=3)'))
    async with tm.agent():
        await tm.allocate()
        await tm.wait_for(TrialExited)
    assert not caplog.records
    async with tm.agent():
        await tm.wait_for(AgentJoined, 2)
        await tm.allocate()
        await tm.wait_for(TrialExited, 2)
    (resumed,) = caplog.records
    assert getattr(resumed, "position", 0) >= tm.recorded_of(TrialRequested).seq

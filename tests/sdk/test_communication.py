"""How long a rank waits for the others."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.sdk.conftest import Start
from tests.sdk.fake_agent import FakeAgent
from trainmaster.sdk import communication
from trainmaster.sdk.communication import Waits


@pytest.mark.slow
@pytest.mark.parametrize("script", ["communication.py", "communication_ddp.py"])
def test_a_rank_that_waits_for_another_says_so(start_gang: Start, scripts: Path, tmp_path: Path, script: str) -> None:
    length = {"unit": "batches", "count": 7}
    with FakeAgent(tmp_path, world_size=2, local_world_size=2, max_length=length) as agent:
        gang = start_gang(scripts / script, agent, 2)
        assert gang.join() == [0, 0], gang.output
    profiles = [frame for frame in agent.of_type("metrics") if frame.get("group") == "profiling"]
    shares = [point[2]["communication_share"] for frame in profiles for point in frame["points"]]
    assert shares and all(0.7 < share <= 1 for share in shares)


def test_waits_are_added_up_also_those_that_fail() -> None:
    now = 0.0

    def wait(seconds: float) -> str:
        nonlocal now
        now += seconds
        if seconds > 5:
            raise TimeoutError
        return "done"

    waits = Waits(clock=lambda: now)
    timed = waits.timed(wait)
    assert timed(2.0) == "done"
    with pytest.raises(TimeoutError):
        timed(seconds=6.0)
    assert waits.total_s() == 8.0


class Parallel:
    """DistributedDataParallel, as far as it tells what it has timed."""

    def __init__(self, **told: int) -> None:
        self.told = told

    def _get_ddp_logging_data(self) -> dict[str, int]:
        return self.told


def test_of_an_exchange_of_gradients_counts_what_does_not_lie_beside_computation() -> None:
    waits = Waits()
    waits.noted(Parallel.__init__)(generator := Parallel(), backward_comm_time=7, backward_compute_comm_overlap_time=5)
    assert waits.exchange_s() == pytest.approx(2e-9)
    waits.noted(Parallel.__init__)(critic := Parallel())
    assert waits.exchange_s() is None, "the second has not timed any yet"
    critic.told = {"backward_comm_time": 3, "backward_compute_comm_overlap_time": 4}
    assert waits.exchange_s() == pytest.approx(2e-9)
    del generator
    assert waits.exchange_s() == 0.0


class Event:
    """A CUDA event: its stream comes to it when it is let."""

    stream_s, reached_s = 0.0, 0.0

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at_s = Event.stream_s

    def query(self) -> bool:
        return self.at_s <= Event.reached_s

    def elapsed_time(self, other: "Event") -> float:
        return 1000 * (other.at_s - self.at_s)


def test_on_a_gpu_the_stream_is_timed_and_never_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(Event=Event, is_current_stream_capturing=lambda: False)
    monkeypatch.setattr(communication, "_cuda", lambda: cuda)

    def wait() -> None:
        Event.stream_s += 3.0

    waits = Waits()
    timed = waits.timed(wait)
    timed()
    timed()
    assert waits.total_s() == 0.0, "the GPU is not there yet"
    Event.reached_s = 4.0
    assert waits.total_s() == 3.0
    Event.reached_s = 6.0
    assert waits.total_s() == 6.0

"""How long a trial trains, in its three units."""

from collections.abc import Mapping

import pytest

import trainmaster as tm


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent and no other ranks."""
    for name in ("TM_SOCKET", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("max_length", "max_steps"),
    [(7, 7), ({"batches": 7}, 7), ({"epochs": 3}, 30), ({"records": 100}, 7), ({"records": 1}, 1), (None, None)],
)
def test_every_unit_becomes_steps(max_length: int | Mapping[str, int] | None, max_steps: int | None) -> None:
    with tm.trial(max_length=max_length) as trial:
        trial.steps_per_epoch, trial.global_batch_size = 10, 16
        assert trial.max_steps == max_steps


def test_epochs_need_to_know_how_long_they_are() -> None:
    with tm.trial(max_length={"epochs": 3}) as trial, pytest.raises(ValueError, match=r"3 epochs.*steps_per_epoch"):
        next(trial.steps())


@pytest.mark.parametrize("max_length", [0, {"batches": -1}, {"hours": 3}, {}, {"batches": 1, "epochs": 2}])
def test_a_senseless_length_is_refused(max_length: int | Mapping[str, int]) -> None:
    with pytest.raises(ValueError, match="max_length is"), tm.trial(max_length=max_length):
        pass


def test_a_loop_without_a_length_ends_by_a_break() -> None:
    with tm.trial() as trial:
        for step in trial.steps():
            if step == 4:
                break
    assert (trial.step, trial.steps_completed) == (4, 4)

"""What counts as a metric's value."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainmaster.sdk.metrics import FiniteFilter, capture, check_step


@given(value=st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_every_kind_of_number_is_the_same_number(value: float) -> None:
    kinds = {"python": value, "numpy": np.float32(value), "array": np.array([value]), "tensor": torch.tensor(value)}
    assert FiniteFilter().fetch(1, capture(kinds)) == dict.fromkeys(kinds, value)


def test_a_tensor_counts_as_it_was_when_reported() -> None:
    total = torch.tensor(1.0)
    captured = capture({"total": total})
    total += 1
    assert FiniteFilter().fetch(1, captured) == {"total": 1.0}


def test_a_value_on_an_accelerator_is_not_fetched_when_reported() -> None:
    captured = capture({"loss": torch.zeros((), device="meta")})  # a device that can never be read
    with pytest.raises(RuntimeError):
        FiniteFilter().fetch(1, captured)


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_names_are_bounded(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 256 characters"):
        capture({name: 1.0})


def test_a_step_is_a_whole_number() -> None:
    assert check_step(np.int64(3)) == 3
    with pytest.raises(ValueError, match="a step is 0 or more; got -1"):
        check_step(-1)
    with pytest.raises(TypeError):
        check_step(1.5)

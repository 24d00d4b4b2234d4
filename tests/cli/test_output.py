"""How values are shown to people."""

import pytest

from trainmaster.cli.output import figures, number, size


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.123456, "0.1235"), (1e-7, "1e-07"), (3, "3"), ("relu", "relu"), (True, "True")]
)
def test_number(value: object, text: str) -> None:
    assert number(value) == text


def test_nested_hyperparameters_are_joined_by_dots() -> None:
    assert figures({"lr": 0.1, "net": {"width": 64, "kind": "mlp"}}) == "lr=0.1 net.width=64 net.kind=mlp"


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (12_300, "12.3 kB"), (4_000_000, "4 MB"), (7_250_000_000, "7.25 GB")],
)
def test_size(num_bytes: int, text: str) -> None:
    assert size(num_bytes) == text

"""The generated documents are the code's."""

from pathlib import Path

from shared.events.reference import render

ROOT = Path(__file__).parents[2]


def test_the_event_reference_is_up_to_date() -> None:
    stored = (ROOT / "docs/reference/events.md").read_text()
    assert stored == render(), "run: python -m shared.events.reference > docs/reference/events.md"

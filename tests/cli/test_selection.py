"""Times as people write them."""

from datetime import datetime, timedelta

import click
import pytest

from trainmaster.cli.moments import Instant


def instant(text: str) -> datetime:
    return datetime.fromisoformat(Instant().convert(text, None, None))


@pytest.mark.parametrize(
    ("text", "ago"),
    [("30s", timedelta(seconds=30)), ("10m", timedelta(minutes=10)), ("2h", timedelta(hours=2)), ("1d", timedelta(1))],
)
def test_how_long_ago(text: str, ago: timedelta) -> None:
    before = datetime.now().astimezone()
    assert before - ago <= instant(text) <= datetime.now().astimezone() - ago


def test_a_time_of_day_is_the_last_one() -> None:
    now = datetime.now().astimezone()
    for text in ("00:00", "14:30", "23:59:59"):
        found = instant(text)
        assert found.strftime("%H:%M:%S").startswith(text)
        assert now - timedelta(days=1, hours=1) <= found <= datetime.now().astimezone()


def test_dates_and_times_are_local_without_an_offset() -> None:
    assert instant("2026-01-31") == datetime(2026, 1, 31).astimezone()
    assert instant("2026-01-31T12:00:00+00:00").timestamp() == datetime.fromisoformat("2026-01-31T12:00Z").timestamp()


@pytest.mark.parametrize("text", ["", "10", "10w", "24:00", "999999d", "tomorrow"])
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time"):
        instant(text)

"""What an exported series looks like: CSV, JSON lines or Parquet, with the same columns."""

import csv
import io
from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from services.gateway.export import Run
from services.gateway.parquet import Kind, Writer

COLUMNS = {
    "trial_id": Kind.TEXT,
    "group": Kind.TEXT,
    "name": Kind.TEXT,
    "epoch": Kind.INTEGER,
    "step": Kind.INTEGER,
    "time": Kind.TIMESTAMP_US,
    "value": Kind.NUMBER,
    "archived": Kind.FLAG,
}
_US = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Format(Protocol):
    """Turns runs of points into the bytes of a file, in order: `start`, `write` for each lot of runs, `end`."""

    media_type: str

    def start(self) -> bytes:
        """Return what the file begins with."""

    def write(self, runs: Sequence[Run]) -> bytes:
        """Return the points of the runs."""

    def end(self) -> bytes:
        """Return what the file ends with."""


class Csv:
    """RFC 4180, with a header; times in ISO 8601, UTC."""

    media_type = "text/csv"

    def start(self) -> bytes:
        """Return the header."""
        return ",".join(COLUMNS).encode() + b"\r\n"

    def write(self, runs: Sequence[Run]) -> bytes:
        """Return a line a point."""
        return "".join(map(self._lines, runs)).encode()

    def end(self) -> bytes:
        """Return nothing."""
        return b""

    @staticmethod
    def _lines(run: Run) -> str:
        written = io.StringIO()
        csv.writer(written).writerow(run.origin)
        before, after = written.getvalue().removesuffix("\r\n"), f"{str(run.is_archived).lower()}\r\n"
        return "".join(f"{before},{step},{time},{value!r},{after}" for step, time, value in _told(run))


class JsonLines:
    """A JSON object a point."""

    media_type = "application/x-ndjson"

    def start(self) -> bytes:
        """Return nothing."""
        return b""

    def write(self, runs: Sequence[Run]) -> bytes:
        """Return a line a point."""
        return b"".join(map(self._lines, runs))

    def end(self) -> bytes:
        """Return nothing."""
        return b""

    @staticmethod
    def _lines(run: Run) -> bytes:
        before = msgspec.json.encode(run.origin._asdict())[:-1].decode()
        after = f'"archived":{str(run.is_archived).lower()}}}\n'
        return "".join(
            f'{before},"step":{step},"time":"{time}","value":{value!r},{after}' for step, time, value in _told(run)
        ).encode()


class Parquet:
    """Apache Parquet; times are timestamps."""

    media_type = "application/vnd.apache.parquet"

    def __init__(self) -> None:
        self._writer = Writer(COLUMNS)

    def start(self) -> bytes:
        """Return the magic number."""
        return self._writer.start()

    def write(self, runs: Sequence[Run]) -> bytes:
        """Return a row group."""
        sizes = [len(run.points) for run in runs]
        origins = [(run.origin, size) for run, size in zip(runs, sizes, strict=True)]
        epochs = array("q")
        steps, times_us, values = array("q"), array("q"), array("d")
        for run, size in zip(runs, sizes, strict=True):
            epochs.extend(array("q", [run.origin.epoch]) * size)
            steps.extend(run.points.steps)
            times_us.extend(run.points.times_us)
            values.extend(run.points.values)
        archived = [(run.is_archived, size) for run, size in zip(runs, sizes, strict=True)]
        texts = (
            [(origin.trial_id, size) for origin, size in origins],
            [(origin.group, size) for origin, size in origins],
            [(origin.name, size) for origin, size in origins],
        )
        return self._writer.row_group([*texts, epochs, steps, times_us, values, archived], sum(sizes))

    def end(self) -> bytes:
        """Return the footer."""
        return self._writer.end()


FORMATS: dict[str, type[Csv] | type[JsonLines] | type[Parquet]] = {"csv": Csv, "ndjson": JsonLines, "parquet": Parquet}


def _told(run: Run) -> Iterator[tuple[int, str, float]]:
    """Yield step, time as text, and value; most points of a second share all but the fraction."""
    shown, text = -1, ""
    for step, time_us, value in zip(run.points.steps, run.points.times_us, run.points.values, strict=True):
        second, rest_us = divmod(time_us, _US)
        if second != shown:
            shown, text = second, (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
        yield step, f"{text}.{rest_us:06d}Z", value

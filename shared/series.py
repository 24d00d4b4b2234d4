"""A metric's series as arrays: how points are put together, packed into a chunk, and condensed for charts.

Points of one attempt are ordered by step. When a step was reported more than once, the report that is latest by the
trial's own clock counts (of two at the same instant the larger value), so that any order and any repetition of the
same reports gives the same series.

A chunk holds at most CHUNK_POINTS points in three columns (steps, times, values), each deflated; steps and times as
differences, because most of them are alike. Beside them lies its sketch: the first, lowest, highest and last point
of every BLOCK_POINTS points, so that a chart of a long series need not read all of it. Numbers are in network order,
as PostgreSQL's int8send and float8send write them.
"""

import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from operator import lt, sub
from typing import Any, NamedTuple, TypeAlias, cast

CHUNK_POINTS = 4096
BLOCK_POINTS = 128

_LEVEL = 1  # higher ones take much longer and save little on noise
_KINDS = "qdqdqdqd"  # of the columns of blocks

Integers: TypeAlias = "array[int]"
Floats: TypeAlias = "array[float]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Points of one attempt, by ascending step; `times_us` are microseconds since 1970 in UTC."""

    steps: Integers
    times_us: Integers
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)

    def part(self, start: int, end: int) -> "Points":
        """Return the points from one index up to, not including, another."""
        return Points(steps=self.steps[start:end], times_us=self.times_us[start:end], values=self.values[start:end])


class Packed(NamedTuple):
    """Points as they are stored."""

    steps: bytes
    times: bytes
    values: bytes


class Blocks(NamedTuple):
    """Runs of points, each by its first, lowest, highest and last point; of a run of one point they are the same."""

    first_steps: Integers
    first_values: Floats
    low_steps: Integers
    low_values: Floats
    high_steps: Integers
    high_values: Floats
    last_steps: Integers
    last_values: Floats

    @classmethod
    def none(cls) -> "Blocks":
        """Return no blocks, to be extended."""
        return cls.unpack(b"")

    @classmethod
    def single(cls, steps: Integers, values: Floats) -> "Blocks":
        """Return each point as a block; not to be extended."""
        return cls(steps, values, steps, values, steps, values, steps, values)

    @property
    def columns(self) -> "tuple[array[Any], ...]":
        """The fields in order: steps and values alternate."""
        return cast("tuple[array[Any], ...]", self)

    def extend(self, others: "Blocks") -> None:
        """Append blocks that come after these."""
        for column, more in zip(self.columns, others.columns, strict=True):
            column.extend(more)

    def append(self, block: Iterable[float]) -> None:
        """Append the eight values of a block."""
        for column, value in zip(self.columns, block, strict=True):
            column.append(value)

    def pack(self) -> bytes:
        """Return the blocks as bytes, column by column."""
        return b"".join(map(_to_bytes, self.columns))

    @classmethod
    def unpack(cls, data: bytes) -> "Blocks":
        """Return the blocks that `pack` gave."""
        width = len(data) // len(_KINDS)
        return cls(*(_from_bytes(kind, data[n * width : (n + 1) * width]) for n, kind in enumerate(_KINDS)))


def points_of(reports: Iterable[tuple[int, int, float]]) -> Points:
    """Return the points of reports (step, time in us, value) in any order."""
    found = {step: (step, time_us, value) for step, time_us, value in sorted(reports)}
    steps, times_us, values = zip(*found.values(), strict=True) if found else ((), (), ())
    return Points(steps=array("q", steps), times_us=array("q", times_us), values=array("d", values))


def joined(parts: Sequence[Points]) -> Points:
    """Return the points of all the parts as one."""
    if len(parts) == 1 and is_ascending(parts[0].steps):
        return parts[0]
    steps, times_us, values = array("q"), array("q"), array("d")
    for part in parts:
        steps.extend(part.steps)
        times_us.extend(part.times_us)
        values.extend(part.values)
    if is_ascending(steps):
        return Points(steps=steps, times_us=times_us, values=values)
    return points_of(zip(steps, times_us, values, strict=True))


def is_ascending(steps: Integers) -> bool:
    """Whether every step is greater than the one before."""
    return all(map(lt, steps, islice(steps, 1, None)))


def pack(points: Points) -> Packed:
    """Return the points deflated."""
    return Packed(
        steps=_deflate(_differences(points.steps)),
        times=_deflate(_differences(points.times_us)),
        values=_deflate(points.values),
    )


def unpack_integers(data: bytes) -> Integers:
    """Return packed steps or times."""
    return array("q", accumulate(_from_bytes("q", zlib.decompress(data))))


def unpack_floats(data: bytes) -> Floats:
    """Return packed values."""
    return _from_bytes("d", zlib.decompress(data))


def unpack(packed: Packed) -> Points:
    """Return the points that `pack` gave."""
    steps, times, values = packed
    return Points(steps=unpack_integers(steps), times_us=unpack_integers(times), values=unpack_floats(values))


def write_raw(points: Points) -> Packed:
    """Return the points as they are: what is packed soon is not deflated before."""
    return Packed(steps=_to_bytes(points.steps), times=_to_bytes(points.times_us), values=_to_bytes(points.values))


def read_raw(raw: Packed) -> Points:
    """Return the points that `write_raw` gave."""
    return Points(
        steps=_from_bytes("q", raw.steps), times_us=_from_bytes("q", raw.times), values=_from_bytes("d", raw.values)
    )


def condense(points: Points, block_points: int) -> Blocks:
    """Return a block for every so many points."""
    edges = [*range(0, len(points), block_points), len(points)]
    return blocks_between(Blocks.single(points.steps, points.values), edges)


def blocks_between(blocks: Blocks, edges: Iterable[int]) -> Blocks:
    """Return one block for all from each index to the next one, where there is any; ties go to the earliest."""
    found = Blocks.none()
    for start, end in pairwise(edges):
        if start < end:
            low = blocks.low_values.index(min(blocks.low_values[start:end]), start, end)
            high = blocks.high_values.index(max(blocks.high_values[start:end]), start, end)
            indices = (start, start, low, low, high, high, end - 1, end - 1)
            found.append(column[index] for column, index in zip(blocks.columns, indices, strict=True))
    return found


def shown(blocks: Blocks) -> Iterator[tuple[int, float]]:
    """Yield the blocks' points by step, each once."""
    for fs, fv, ls, lv, hs, hv, es, ev in zip(*blocks, strict=True):
        if fs == es:
            yield fs, fv
        else:
            yield from sorted({fs: fv, ls: lv, hs: hv, es: ev}.items())


def _differences(numbers: Integers) -> Integers:
    return array("q", map(sub, numbers, [0, *numbers[:-1]]))


def _deflate(numbers: "Integers | Floats") -> bytes:
    return zlib.compress(_to_bytes(numbers), _LEVEL)


def _to_bytes(numbers: "array[Any]") -> bytes:
    if sys.byteorder == "little":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _from_bytes(kind: str, data: bytes) -> "array[Any]":
    numbers: array[Any] = array(kind, data)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers

"""The trial socket's language: msgpack maps, validated before anything else sees them. What a rank says is hostile."""

import math
from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar

import msgpack
import msgspec

MAX_BUFFER_BYTES = 16 * 1024 * 1024
MAX_METRICS = 1000  # names in one report
MAX_POINTS = 10_000  # in one frame

Step = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
MetricName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Metrics = Annotated[dict[MetricName, float], msgspec.Meta(max_length=MAX_METRICS)]


class Malformed(Exception):
    """The bytes are no frames of ours; the connection cannot go on."""


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """A rank introduces itself; the first frame of a connection."""

    rank: Annotated[int, msgspec.Meta(ge=0)]
    pid: int


class Progress(msgspec.Struct, frozen=True, tag_field="type", tag="progress"):
    """A rank is alive, and at a step."""

    step: Step


#: What is no validation and not filled by the agent itself; the script may name groups of its own.
Group = Annotated[str, msgspec.Meta(pattern="^(?!(validation|system|run)$)[a-z][a-z0-9_-]{0,62}$")]


class TrainingMetrics(msgspec.Struct, frozen=True, tag_field="type", tag="metrics"):
    """Training metrics, or where the time goes: (step, unix time in s, values)."""

    points: Annotated[list[tuple[Step, float, Metrics]], msgspec.Meta(max_length=MAX_POINTS)]
    group: Group = "training"


class Validation(msgspec.Struct, frozen=True, tag_field="type", tag="validation"):
    """Validation metrics at a step."""

    step: Step
    metrics: Metrics


class CheckpointWritten(msgspec.Struct, frozen=True, tag_field="type", tag="checkpoint"):
    """All files of this agent's ranks are complete in a directory."""

    step: Step
    directory: Annotated[str, msgspec.Meta(max_length=4096)]
    zero_stage: Annotated[int, msgspec.Meta(ge=0, le=3)] | None = None


class Farewell(msgspec.Struct, frozen=True, tag_field="type", tag="bye"):
    """A rank is about to exit well."""

    outcome: Literal["completed", "preempted"]
    step: Step


Frame = Hello | Progress | TrainingMetrics | Validation | CheckpointWritten | Farewell


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(max_buffer_size=MAX_BUFFER_BYTES)

    def feed(self, body: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete now. Raises Malformed."""
        try:
            self._unpacker.feed(body)
            for value in self._unpacker:
                yield msgspec.convert(value, Frame)
        except msgspec.ValidationError as error:
            raise Malformed(str(error)) from error
        except (msgpack.UnpackException, ValueError) as error:
            raise Malformed(f"not msgpack: {type(error).__name__} {error}".rstrip()) from error


Name = TypeVar("Name", bound=str)


def split_finite(metrics: dict[Name, float]) -> tuple[dict[Name, float], list[Name]]:
    """Return the finite metrics, and the names of the others."""
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    return finite, [name for name in metrics if name not in finite]

"""What MLflow's tracking API says: its answers' shapes, by the names of its protocol (mlflow/protos/service.proto).

Numbers of 64 bits are JSON numbers, as MLflow's server writes them; values that are not finite are the texts NaN,
Infinity and -Infinity, as protobuf's JSON has them.
"""

import math
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

MAX_KEY = 250
MAX_TAG = 8_000
MAX_PARAM = 6_000

Key = Annotated[str, Meta(min_length=1, max_length=MAX_KEY, pattern=r"^[^\x00]*$")]
Id = Annotated[str, Meta(max_length=250, pattern=r"^[^\x00]*$")]
DatasetText = Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*$")]
Text = Annotated[str, Meta(max_length=MAX_TAG)]
Name = Annotated[str, Meta(min_length=1, max_length=500)]
Milliseconds = Annotated[int, Meta(ge=0, le=253_402_300_799_000)]  # up to the year 9999
Number = float | str


class Said(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of a request or an answer; what a newer client says besides is passed over."""


class Pair(Said, frozen=True, kw_only=True):
    """A tag or a parameter."""

    key: Key
    value: Text = ""


class Metric(Said, frozen=True, kw_only=True):
    """A value of a metric."""

    key: Key
    value: Number
    timestamp: Milliseconds = 0
    step: int = 0
    model_id: Id = ""
    dataset_name: DatasetText = ""
    dataset_digest: DatasetText = ""
    run_id: str = ""


class Empty(Said, frozen=True, kw_only=True):
    """An answer that says only: done."""


class Experiment(Said, frozen=True, kw_only=True):
    """An experiment."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    creation_time: int
    last_update_time: int
    tags: list[Pair] = field(default_factory=list)
    workspace: str = ""


class RunInfo(Said, frozen=True, kw_only=True):
    """What a run is."""

    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int | None = None
    end_time: int | None = None
    artifact_uri: str = ""
    lifecycle_stage: str = ""


class RunData(Said, frozen=True, kw_only=True):
    """What a run logged; of each metric the newest value."""

    metrics: list[Metric] = field(default_factory=list)
    params: list[Pair] = field(default_factory=list)
    tags: list[Pair] = field(default_factory=list)


class Dataset(Said, frozen=True, kw_only=True):
    """A data set; where it is and what it holds is up to the client."""

    name: Name
    digest: Annotated[str, Meta(max_length=500)]
    source_type: Annotated[str, Meta(max_length=500)] = ""
    source: Annotated[str, Meta(max_length=65_535)] = ""
    schema: Annotated[str, Meta(max_length=65_535)] = ""
    profile: Annotated[str, Meta(max_length=65_535)] = ""


class DatasetInput(Said, frozen=True, kw_only=True):
    """A data set that a run read."""

    dataset: Dataset
    tags: list[Pair] = field(default_factory=list)


class RunModel(Said, frozen=True, kw_only=True):
    """A model that a run used or made."""

    model_id: str
    step: int = 0


class RunInputs(Said, frozen=True, kw_only=True):
    """What a run read."""

    dataset_inputs: list[DatasetInput] = field(default_factory=list)
    model_inputs: list[RunModel] = field(default_factory=list)


class RunOutputs(Said, frozen=True, kw_only=True):
    """What a run made."""

    model_outputs: list[RunModel] = field(default_factory=list)


class Run(Said, frozen=True, kw_only=True):
    """A run."""

    info: RunInfo
    data: RunData
    inputs: RunInputs
    outputs: RunOutputs


class File(Said, frozen=True, kw_only=True):
    """An artifact or a folder of artifacts."""

    path: str
    is_dir: bool
    file_size: int | None = None


class ModelInfo(Said, frozen=True, kw_only=True):
    """What a logged model is."""

    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str = ""
    source_run_id: str = ""
    tags: list[Pair] = field(default_factory=list)


class ModelData(Said, frozen=True, kw_only=True):
    """A logged model's parameters and metrics."""

    params: list[Pair] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)


class Model(Said, frozen=True, kw_only=True):
    """A logged model."""

    info: ModelInfo
    data: ModelData


def pairs(values: dict[str, str]) -> list[Pair]:
    """Return tags or parameters by name."""
    return [Pair(key=key, value=value) for key, value in sorted(values.items())]


def milliseconds(time: datetime) -> int:
    """Return a time as MLflow counts it, since 1970 in UTC."""
    return round(time.timestamp() * 1e3)


def instant(time_ms: int) -> datetime:
    """Return the time of so many milliseconds since 1970."""
    return datetime.fromtimestamp(time_ms / 1e3, UTC)


def number(value: float) -> Number:
    """Return a value as JSON can hold it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def value_of(said: Number) -> float:
    """Return what `number` gave. Raises ValueError."""
    return float(said)


encode = msgspec.json.encode

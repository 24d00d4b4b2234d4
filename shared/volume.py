"""Messages of the two side streams: training metrics and trial output. Volume that no decision depends on."""

from datetime import datetime
from typing import Annotated

import msgspec

from shared.ids import AllocationId, ExperimentId, ModelId, RunId, TrialId

Step = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class MetricPoint(msgspec.Struct, frozen=True, array_like=True):
    """Training metrics of one step. Values are finite."""

    step: Step
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    values: dict[str, float]


class ModelMetrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose metrics a run logged: a model's, and on which data set."""

    model_id: ModelId
    dataset_name: str = ""
    dataset_digest: str = ""


class MetricBatch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Metrics of one group that came since the last batch; a body of the METRICS stream. What the script reports is
    `training`, where its time goes `profiling`, what its processes use `system`; a group that the script names is a
    group of its own. The metrics of a run are the group `run`, and its id stands in place of a trial's: they alone may
    have values that are not finite, and `model`."""

    trial_id: TrialId | RunId
    experiment_id: ExperimentId
    epoch: int
    points: tuple[MetricPoint, ...]
    group: str = "training"
    model: ModelMetrics | None = None


RUN = "run"  # the group of a run's metrics


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """One line of output. `stream` is stdout, stderr or agent."""

    time: datetime
    stream: str
    text: str


class LogBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Lines that a rank wrote since the last batch; a body of the LOGS stream."""

    trial_id: TrialId
    allocation_id: AllocationId
    epoch: int
    rank: int
    lines: tuple[LogLine, ...]


encode = msgspec.msgpack.Encoder().encode
decode_metrics = msgspec.msgpack.Decoder(MetricBatch).decode
decode_logs = msgspec.msgpack.Decoder(LogBatch).decode

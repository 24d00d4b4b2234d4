"""Trials as TensorBoard reads them: a directory a trial, its metrics as scalars and its hyperparameters.

    DIRECTORY/<experiment>/<trial>/events.out.tfevents.…

Written with TensorBoard's own writer, which is installed with it: `pip install tensorboard`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf import struct_pb2
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.event_file_writer import EventFileWriter

MAX_WAITING = 1_000  # events that the writer's thread has not written yet
START, END = "_hparams_/session_start_info", "_hparams_/session_end_info"  # tags that TensorBoard looks for

_STATUS = {"COMPLETED": Status.STATUS_SUCCESS, "FAILED": Status.STATUS_FAILURE, "CANCELED": Status.STATUS_FAILURE}


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an export (docs/metrics.md)."""

    trial_id: str
    group: str
    name: str
    epoch: int
    step: int
    time: datetime
    value: float


class TrialFile:
    """One trial's event file; points are appended. A trial that went back is written from there again: TensorBoard
    drops what it read beyond."""

    def __init__(self, directory: Path, hyperparameters: Mapping[str, Any], started_s: float) -> None:
        self.next_step: dict[tuple[str, str], int] = {}  # by group and name
        self.epoch = 0  # the newest that has reported
        self._writer = EventFileWriter(str(directory), max_queue_size=MAX_WAITING)
        said = SessionStartInfo(start_time_secs=started_s)
        for name, value in flat(hyperparameters).items():
            said.hparams[name].CopyFrom(_value(value))
        self._add_plugin_data(START, HParamsPluginData(session_start_info=said), started_s)

    @property
    def first_wanted(self) -> int:
        """The step from which on there may be points that are not in the file."""
        return min(self.next_step.values(), default=0)

    def add(self, points: Iterable[Point]) -> int:
        """Append the points that are new; return how many. They come by series and step."""
        num_added = 0
        for point in points:
            series = point.group, point.name
            if point.step < self.next_step.get(series, 0):
                continue
            value = Summary.Value(tag=f"{point.group}/{point.name}", simple_value=point.value)
            self._writer.add_event(
                Event(wall_time=point.time.timestamp(), step=point.step, summary=Summary(value=[value]))
            )
            self.next_step[series] = point.step + 1
            self.epoch = max(self.epoch, point.epoch)
            num_added += 1
        return num_added

    def go_back(self, step: int, time_s: float) -> None:
        """Say that the trial was trained again from this step on: what follows replaces what was there."""
        self._writer.add_event(Event(wall_time=time_s, step=step, session_log=SessionLog(status=SessionLog.START)))
        self.next_step = {series: min(step, following) for series, following in self.next_step.items()}

    def end(self, state: str, ended_s: float) -> None:
        """Say how the trial ended."""
        said = SessionEndInfo(status=_STATUS.get(state, Status.STATUS_UNKNOWN), end_time_secs=ended_s)
        self._add_plugin_data(END, HParamsPluginData(session_end_info=said), ended_s)

    def flush(self) -> None:
        """Have the file hold everything that was added."""
        self._writer.flush()

    def close(self) -> None:
        """Write everything that was added and close the file."""
        self._writer.close()

    def _add_plugin_data(self, tag: str, said: HParamsPluginData, time_s: float) -> None:
        plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=said.SerializeToString())
        value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))
        self._writer.add_event(Event(wall_time=time_s, step=0, summary=Summary(value=[value])))


def flat(hyperparameters: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return hyperparameters by name; what is nested has the way there as its name: optimizer.lr."""
    found: dict[str, Any] = {}
    for name, value in hyperparameters.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return found


def _value(value: object) -> struct_pb2.Value:
    match value:
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() | float():
            return struct_pb2.Value(number_value=value)
        case _:
            return struct_pb2.Value(string_value=str(value))

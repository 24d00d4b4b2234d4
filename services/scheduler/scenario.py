"""The file that `tm simulate` reads (docs/simulate.md): a pool, what is asked of it, and what happens to it."""

import difflib
import re
from datetime import datetime
from typing import Annotated, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from services.scheduler.document import read_plain
from services.scheduler.pool import MAX_PRIORITY
from shared.errors import Problem, Rejected
from shared.events import DEFAULT_PRIORITY, ZERO_SLOT_LIMIT, Fitting, PolicyType, PoolPolicy

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Priority = Annotated[int, Meta(ge=1, le=MAX_PRIORITY)]
Weight = Annotated[float, Meta(ge=0, le=1e9)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping in which an unknown key is a mistake."""


class Policy(_Strict, frozen=True, kw_only=True):
    """How the pool is scheduled. Fair share preempts unless told otherwise, as in Determined."""

    type: PolicyType = PolicyType.PRIORITY
    preemption: bool | None = None
    fitting: Fitting = Fitting.BEST
    heterogeneous_fits: bool = False
    reserve_after_s: Seconds | None = None

    def value(self) -> PoolPolicy:
        """Return the policy as the scheduler knows it."""
        preempts = self.type is PolicyType.FAIR_SHARE if self.preemption is None else self.preemption
        return PoolPolicy(
            type=self.type,
            preemption=preempts,
            fitting=self.fitting,
            heterogeneous_fits=self.heterogeneous_fits,
            reserve_after_s=self.reserve_after_s,
        )


class Agent(_Strict, frozen=True, kw_only=True):
    """An agent of the pool. Its labels `host` and `switch` say which agents are near each other."""

    id: Name
    slots: Count
    slot_type: str = ""
    labels: dict[str, str] | tuple[str, ...] = ()
    zero_slot_limit: Count = ZERO_SLOT_LIMIT
    enabled: bool = True
    draining: bool = False


class Job(_Strict, frozen=True, kw_only=True):
    """An experiment. Without `submitted_at` it was submitted when the one listed before it was."""

    id: Name
    priority: Priority = DEFAULT_PRIORITY
    weight: Weight = 1.0
    max_slots: Count | None = None
    submitted_at: datetime | float | None = None


class Trial(_Strict, frozen=True, kw_only=True):
    """A trial; without `job` it is a job of its own. The times are those of a trace."""

    id: Name
    slots: Count
    job: Name | None = None
    preemptible: bool = True
    running_on: dict[str, Count] | None = None
    submit_s: Seconds = 0.0
    duration_s: Seconds | None = None

    @property
    def job_id(self) -> str:
        """The job it belongs to."""
        return self.job or self.id


class Step(_Strict, frozen=True, kw_only=True, tag_field="op"):
    """Something that happens."""


class Schedule(Step, frozen=True, kw_only=True, tag="schedule"):
    """One pass of the scheduler; it reports what it wants done."""


class Start(Step, frozen=True, kw_only=True, tag="start"):
    """What the last pass wanted is done: its allocations run, those it released have stopped and wait again."""


class AddTrials(Step, frozen=True, kw_only=True, tag="add_trials"):
    """More trials (and jobs) are submitted."""

    trials: tuple[Trial, ...]
    jobs: tuple[Job, ...] = ()


class Finish(Step, frozen=True, kw_only=True, tag="finish"):
    """Trials have ended."""

    trials: tuple[Name, ...]


class Stop(Step, frozen=True, kw_only=True, tag="stop"):
    """Running trials have stopped, and wait again at their old place."""

    trials: tuple[Name, ...]


class Move(Step, frozen=True, kw_only=True, tag="move"):
    """A job goes directly ahead of or behind another, into that one's lane."""

    job: Name
    ahead_of: Name | None = None
    behind: Name | None = None


class Set(Step, frozen=True, kw_only=True, tag="set"):
    """A job is changed while it waits or runs. `max_slots: null` lifts its limit."""

    job: Name
    priority: Priority | UnsetType = UNSET
    weight: Weight | UnsetType = UNSET
    max_slots: Count | UnsetType | None = UNSET


class AddAgents(Step, frozen=True, kw_only=True, tag="add_agents"):
    """Agents join."""

    agents: tuple[Agent, ...]


class _AgentStep(Step, frozen=True, kw_only=True):
    agent: Name


class Drain(_AgentStep, frozen=True, kw_only=True, tag="drain"):
    """An agent takes no new work; what runs there goes on."""


class Disable(_AgentStep, frozen=True, kw_only=True, tag="disable"):
    """An agent takes no new work, and what runs there stops."""


class Enable(_AgentStep, frozen=True, kw_only=True, tag="enable"):
    """An agent takes work again."""


class Lose(_AgentStep, frozen=True, kw_only=True, tag="lose"):
    """An agent is gone, with what ran on it; those trials wait again."""


AnyStep = Schedule | Start | AddTrials | Finish | Stop | Move | Set | AddAgents | Drain | Disable | Enable | Lose


class Scenario(_Strict, frozen=True, kw_only=True):
    """A whole file. Without steps it is a trace: trials come and go by their times."""

    policy: Policy = Policy()
    agents: tuple[Agent, ...]
    jobs: tuple[Job, ...] = ()
    trials: tuple[Trial, ...] = ()
    steps: tuple[AnyStep, ...] = ()


#: What stands at a path, its last name and without indices; the operations of a step differ.
_KNOWN: dict[str, type[msgspec.Struct]] = {
    "": Scenario,
    "policy": Policy,
    "agents": Agent,
    "jobs": Job,
    "trials": Trial,
}
_OPERATIONS = {kind.__struct_config__.tag: kind for kind in get_args(AnyStep)}


def read(text: str) -> Scenario:
    """Return a scenario from its JSON or YAML. Raises Rejected, naming the field that is wrong."""
    value = read_plain(text)
    try:
        return msgspec.convert(value, Scenario)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        path = where.removeprefix("`key` in ").strip("`").removeprefix("$").removeprefix(".")
        raise Rejected("the simulation file has a mistake", (Problem(path, what, _mend(what, path, value)),)) from error


def _mend(what: str, path: str, value: object) -> str | None:
    """Return what to write instead, where that is not said already."""
    if what.startswith("Invalid value") and path.endswith(".op"):
        return f"one of {', '.join(_OPERATIONS)}"
    if what == "Expected `str`, got `int`":
        return "put it in quotes"
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL):
        names = _names(path, value)
        near = difflib.get_close_matches(unknown[1], names, n=1)
        return f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
    return None


def _names(path: str, value: object) -> list[str]:
    """Return the keys that may stand at a path."""
    kind = _KNOWN.get(re.sub(r"\[\d+\]", "", path).rsplit(".", 1)[-1])
    if kind is None:
        step = _at(value, path)
        kind = _OPERATIONS.get(step.get("op", "") if isinstance(step, dict) else "", Step)
    return [*(["op"] if issubclass(kind, Step) else []), *(field.encode_name for field in msgspec.structs.fields(kind))]


def _at(value: object, path: str) -> object:
    for name, index in re.findall(r"(\w+)|\[(\d+)\]", path):
        value = value[name] if isinstance(value, dict) else value[int(index)] if isinstance(value, list) else None
    return value

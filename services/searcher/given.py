"""Configurations that somebody gives: the experiment file, to be tried first, or another experiment, to learn from.

What the file leaves out of a configuration is drawn at random. Of another experiment's configuration the model gets the
hyperparameters that both spaces share; one that lies outside the space's ranges, or shares nothing, tells it nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.searcher.method import Proposal, Question, Result, SearchMethod
from services.searcher.space import Axis, Path, Space, axes, fill, generator, value_at
from shared.config.given import misfits
from shared.config.hyperparameters import Choice, Double, Hyperparameter, Log, Nested
from shared.events import Origin, OriginKind

_MISSING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFirst:
    """See SearchMethod. The given configurations come first, then what another method proposes.

    They count among the other method's trials, unless they come in addition to these (a grid's).
    """

    method: SearchMethod
    given: tuple[dict[str, Any], ...]
    space: Space
    seed: int
    in_addition: bool

    @property
    def num_trials(self) -> int:
        """Those of both."""
        return self.method.num_trials + (len(self.given) if self.in_addition else 0)

    @property
    def num_concurrent(self) -> int:
        """Those of the other method."""
        return self.method.num_concurrent

    @property
    def learns(self) -> bool:
        """Whether the other method does."""
        return self.method.learns

    def propose(self, index: int, results: Sequence[Result], pending: Sequence[dict[str, Any]]) -> Proposal | Question:
        """Return trial `index`."""
        if index > len(self.given):
            return self.method.propose(index - (len(self.given) if self.in_addition else 0), results, pending)
        origin = f"given by the experiment file, {index} of {len(self.given)}"
        chosen = Origin(kind=OriginKind.GIVEN, number=index, of=len(self.given), design="points_to_evaluate")
        hyperparameters = completed(self.space, self.given[index - 1], self.seed, index)
        return Proposal(hyperparameters=hyperparameters, origin=origin, chosen=chosen)


def completed(space: Space, given: Mapping[str, Any], seed: int, index: int) -> dict[str, Any]:
    """Return the hyperparameters of trial `index`: those given, the others drawn at random."""
    random_generator = generator(seed, index)
    values = {axis.path: value_at(axis.range, random_generator.random()) for axis in axes(space)}
    return fill(space, values | given_values(axes(space), given, values))


def given_values(axes_: Iterable[Axis], given: Mapping[str, Any], others: Mapping[Path, Any]) -> dict[Path, Any]:
    """Return the values of the axes that given hyperparameters have; `others` are those of choices not given."""
    values: dict[Path, Any] = {}
    for axis in axes_:
        condition = axis.condition
        if condition and values.get(condition.path, others.get(condition.path)) != condition.option:
            continue
        value = _at(given, axis.place)
        if value is not _MISSING:
            values[axis.path] = float(value) if isinstance(axis.range, Double | Log) else value
    return values


def fits(space: Space, hyperparameters: Mapping[str, Any]) -> bool:
    """Say whether another experiment's hyperparameters tell anything about a space: all that both have lie in range,
    and there is one that varies here."""
    shared = _shared(space, hyperparameters)
    return not any(misfits(space, shared, ())) and bool(given_values(axes(space), shared, {}))


def _shared(space: Space, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _part(space[name], value) for name, value in hyperparameters.items() if name in space}


def _part(hyperparameter: Hyperparameter, value: Any) -> Any:
    """Return what of a value a hyperparameter has, too: of a group, and of a choice's option."""
    match hyperparameter:
        case Nested() if isinstance(value, Mapping):
            return _shared(hyperparameter.root, value)
        case Choice() if isinstance(value, Mapping) and (name := _option(hyperparameter, value)):
            return {"name": name, **_shared(hyperparameter.options[name], value)}
    return value


def _option(choice: Choice, value: Mapping[str, Any]) -> str | None:
    name = value.get("name")
    return name if isinstance(name, str) and name in choice.options else None


def _at(given: Mapping[str, Any], place: Path) -> Any:
    value: Any = given
    for name in place:
        if not isinstance(value, Mapping) or name not in value:
            return _MISSING
        value = value[name]
    return value

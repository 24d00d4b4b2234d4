"""Values as PostgreSQL takes them, and the part of an experiment's config that the read model shows."""

from typing import Any, overload

import msgspec

from shared.events import DEFAULT_PRIORITY


@overload
def text(value: str) -> str: ...
@overload
def text(value: None) -> None: ...
@overload
def text(value: str | None) -> str | None: ...
def text(value: str | None) -> str | None:
    """Return text that PostgreSQL can hold: it has no NUL character."""
    return value if value is None else value.replace("\0", "\ufffd")


def json(value: object) -> str:
    """Return a value as JSON that PostgreSQL can hold."""
    return msgspec.json.encode(_without_nul(value)).decode()


def _without_nul(value: object) -> object:
    match value:
        case str():
            return text(value)
        case dict():
            return {_without_nul(key): _without_nul(item) for key, item in value.items()}
        case list() | tuple():
            return [_without_nul(item) for item in value]
        case _:
            return value


class Length(msgspec.Struct, frozen=True):
    """How long a trial trains; only a length in batches counts steps."""

    batches: int | None = None


class Searcher(msgspec.Struct, frozen=True, kw_only=True):
    """The search method and the metric it looks at."""

    name: str
    metric: str
    smaller_is_better: bool = True
    max_trials: int | None = None
    max_concurrent_trials: int | None = None
    max_length: Length | int | None = None


class Resources(msgspec.Struct, frozen=True):
    """What each trial holds."""

    slots_per_trial: int = 1
    resource_pool: str = "default"
    priority: int = DEFAULT_PRIORITY
    weight: float = 1.0
    max_slots: int | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an experiment's config that the read model shows; the rest is stored as it came."""

    searcher: Searcher
    resources: Resources = Resources()
    description: str = ""
    labels: tuple[str, ...] = ()
    workspace: str = ""
    project: str = ""

    @property
    def max_steps(self) -> int | None:
        """How many steps a trial has, if the file says so."""
        length = self.searcher.max_length
        return length.batches if isinstance(length, Length) else length


def read_config(config: dict[str, Any]) -> Config:
    """Return what the read model shows of a config. Raises msgspec.ValidationError."""
    return msgspec.convert(config, Config)


def num_trials(config: dict[str, Any]) -> int | None:
    """Return how many trials the search will request."""
    searcher = read_config(config).searcher
    if searcher.name not in ("grid", "hyperband"):
        return 1 if searcher.name == "single" else searcher.max_trials
    from shared.config import load_experiment  # pydantic is 15 MB, and few searches do not simply write it down

    return load_experiment(config).num_trials

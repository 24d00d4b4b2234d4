"""A trial's hyperparameters: a dict whose keys can also be read as attributes."""

from collections.abc import Mapping
from typing import Any


class Hyperparameters(dict[str, Any]):
    """`hyperparameters["lr"]` and `hyperparameters.lr` are the same; nested ones too."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__({name: _wrap(value) for name, value in values.items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f'no hyperparameter "{name}"; there are: {", ".join(self) or "none"}') from None


def _wrap(value: Any) -> Any:
    return Hyperparameters(value) if isinstance(value, Mapping) else value

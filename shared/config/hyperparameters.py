"""The space of a search: what each hyperparameter may be, and how many points it adds to a grid.

A mapping with a `type` is a hyperparameter, a mapping without one is a group of them, anything else is a constant.
A `choice` is where spaces are conditional: one of several groups, and only the chosen one's hyperparameters exist.
The tags in angle brackets mark a union's branch in pydantic's error locations; shared.config.problems removes them.
"""

from collections.abc import Mapping
from math import prod
from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, JsonValue, RootModel, Tag, model_validator
from typing_extensions import TypeAliasType

from shared.config.section import MODEL_CONFIG, Section

MAX_INT = 2**63 - 1

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Int64 = Annotated[int, Field(ge=-MAX_INT, le=MAX_INT)]


class Const(BaseModel):
    """Always the same value; a plain value in the file is one of these."""

    model_config = MODEL_CONFIG

    type: Literal["const"] = "const"
    val: JsonValue

    @model_validator(mode="before")
    @classmethod
    def _plain_value(cls, value: object) -> object:
        return value if isinstance(value, dict) else {"type": "const", "val": value}

    @property
    def num_points(self) -> int:
        """How many points this adds to a grid."""
        return 1


class Categorical(Section):
    """One of the listed values, all equally likely."""

    type: Literal["categorical"] = "categorical"
    vals: Annotated[tuple[JsonValue, ...], Field(min_length=1, strict=False)]

    @property
    def num_points(self) -> int:
        """How many points this adds to a grid."""
        return len(self.vals)


class Int(Section):
    """A whole number from minval to maxval, both included."""

    type: Literal["int"] = "int"
    minval: Int64
    maxval: Int64
    count: Count | None = None

    @property
    def num_points(self) -> int:
        """How many points this adds to a grid; never more than there are whole numbers."""
        return min(self.count or 1, self.maxval - self.minval + 1)


class Double(Section):
    """A number between minval and maxval."""

    type: Literal["double"] = "double"
    minval: float
    maxval: float
    count: Count | None = None

    @property
    def num_points(self) -> int:
        """How many points this adds to a grid."""
        return self.count or 1


class Log(Section):
    """`base` to the power of a number between minval and maxval: the two are exponents."""

    type: Literal["log"] = "log"
    minval: float
    maxval: float
    base: Annotated[float, Field(gt=0)] = 10.0
    count: Count | None = None

    @property
    def num_points(self) -> int:
        """How many points this adds to a grid."""
        return self.count or 1


class Choice(Section):
    """One of several groups, all equally likely; a trial gets the group's hyperparameters and its name, as `name`."""

    type: Literal["choice"] = "choice"
    options: Annotated[dict[str, dict[str, "Hyperparameter"]], Field(min_length=1)]

    @property
    def num_points(self) -> int:
        """How many points this adds to a grid: those of all its groups."""
        return sum(map(num_grid_points, self.options.values()))


class Nested(RootModel[dict[str, "Hyperparameter"]]):
    """Hyperparameters grouped under one name."""

    model_config = {"frozen": True}

    @property
    def num_points(self) -> int:
        """How many points the group adds to a grid."""
        return num_grid_points(self.root)


def _tag(value: object) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    if isinstance(kind, str):
        return f"<{kind}>"
    return "<>" if isinstance(value, dict | Nested) else "<const>"


Hyperparameter = TypeAliasType(
    "Hyperparameter",
    Annotated[
        Annotated[Const, Tag("<const>")]
        | Annotated[Categorical, Tag("<categorical>")]
        | Annotated[Int, Tag("<int>")]
        | Annotated[Double, Tag("<double>")]
        | Annotated[Log, Tag("<log>")]
        | Annotated[Choice, Tag("<choice>")]
        | Annotated[Nested, Tag("<>")],
        Discriminator(_tag),
    ],
)

Nested.model_rebuild()
Choice.model_rebuild()


def num_grid_points(space: Mapping[str, Hyperparameter]) -> int:
    """Return the size of the grid over a space."""
    return prod(hyperparameter.num_points for hyperparameter in space.values())

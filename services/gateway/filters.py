"""The grammar of `filter=` and `sort=`, and its meaning as SQL with parameters only. Pure; docs/api.md shows it.

    filter      = conjunction *( "or" conjunction )
    conjunction = condition *( "and" condition )
    condition   = "not" condition / "(" filter ")" / comparison
    comparison  = field operator value / field "in" "(" value *( "," value ) ")"
    operator    = "=" / "!=" / "<" / "<=" / ">" / ">=" / "~"          ; ~: contains, without regard to case
    value       = number / "null" / "true" / "false" / word / string   ; a string stands in double quotes
    sort        = [ "-" ] field *( "," [ "-" ] field )                 ; -: from high to low

A field is one of the list's, or `hyperparameters.` and a path. What is null is neither less nor greater than anything,
is found by `= null`, and comes last in either order.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from http import HTTPStatus

from shared.errors import Problem, Rejected

MAX_COMPARISONS = 50
MAX_DEPTH = 20
MAX_VALUES = 100
MAX_KEYS = 3
MAX_INT = 2**63 - 1
JSON_FIELD = "hyperparameters."

_TOKEN = re.compile(r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<symbol><=|>=|!=|[=<>~(),])|(?P<word>[^\s"=<>!~(),]+))')
_OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "~")

Value = str | float | int | bool | datetime | None


class Kind(Enum):
    """What a field holds, and the type that it is compared as."""

    TEXT = "text"
    NUMBER = "a number"
    TIME = "a time such as 2026-01-31T12:00:00Z"
    TRUTH = "true or false"
    LABELS = "a label"
    JSON = "a value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Where a field is: an expression of ours over a query's tables. A cursor has no place for long text."""

    sql: str
    kind: Kind
    is_long: bool = False


Columns = Mapping[str, Column]


@dataclass(slots=True)
class Parameters:
    """The values of a statement, by the number that stands for each."""

    values: list[object] = field(default_factory=list)

    def add(self, value: object, as_: str) -> str:
        """Return what stands for a value of a PostgreSQL type."""
        self.values.append(value)
        return f"${len(self.values)}::{as_}"


def where(text: str, columns: Columns, parameters: Parameters) -> str:
    """Return the condition that a filter means. Raises Rejected (400) with every mistake that can be told."""
    parser = _Parser(_tokens(text), columns, parameters)
    sql = parser.filter(0)
    if parser.place < len(parser.tokens):
        raise refused("filter", f"{parser.tokens[parser.place][1]!r} was not expected here", "put and, or between them")
    if parser.problems:
        raise Rejected("the query has mistakes", tuple(parser.problems), status=HTTPStatus.BAD_REQUEST)
    return sql


def refused(name: str, message: str, suggestion: str | None = None) -> Rejected:
    """Return the refusal of a query parameter."""
    return Rejected("the query has mistakes", (Problem(name, message, suggestion),), status=HTTPStatus.BAD_REQUEST)


def column_of(name: str, columns: Columns, parameters: Parameters) -> Column | None:
    """Return where a field is, None if there is none such."""
    if name.startswith(JSON_FIELD) and JSON_FIELD in columns:
        if not _is_text(name):
            return None
        path = parameters.add(name.removeprefix(JSON_FIELD).split("."), "text[]")
        return Column(sql=f"({columns[JSON_FIELD].sql} #> {path})", kind=Kind.JSON)
    return columns.get(name) if name != JSON_FIELD else None


def known(columns: Columns) -> str:
    """Return the names of the fields, for whoever used another."""
    return ", ".join(f"{name}NAME" if name == JSON_FIELD else name for name in columns)


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    place = 0
    while text[place:].strip():
        token = _TOKEN.match(text, place)
        if token is None or token.lastgroup is None:
            raise refused("filter", f"{text[place:][:20]!r} is not understood", "a string stands in double quotes")
        found.append((token.lastgroup, token[token.lastgroup]))
        place = token.end()
    return found


@dataclass(slots=True)
class _Parser:
    """Recursive descent, one method for each rule of the grammar; each returns SQL."""

    tokens: list[tuple[str, str]]
    columns: Columns
    parameters: Parameters
    place: int = 0
    comparisons: int = 0
    problems: list[Problem] = field(default_factory=list)

    def filter(self, depth: int) -> str:
        """Conditions of which one must hold."""
        if depth > MAX_DEPTH:
            raise refused("filter", f"is nested deeper than {MAX_DEPTH}")
        parts = [self._conjunction(depth)]
        while self._takes("or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def _conjunction(self, depth: int) -> str:
        parts = [self._condition(depth)]
        while self._takes("and"):
            parts.append(self._condition(depth))
        return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"

    def _condition(self, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise refused("filter", f"is nested deeper than {MAX_DEPTH}")
        if self._takes("not"):
            return f"COALESCE(NOT {self._condition(depth + 1)}, true)"
        if self._takes("("):
            inner = self.filter(depth + 1)
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> str:
        self.comparisons += 1
        if self.comparisons > MAX_COMPARISONS:
            raise refused("filter", f"has more than {MAX_COMPARISONS} comparisons")
        name = self._next("a field")
        if self._takes("in"):
            self._expect("(")
            values = [self._value()]
            while self._takes(","):
                values.append(self._value())
            self._expect(")")
            if len(values) > MAX_VALUES:
                raise refused("filter", f"{name} is compared with more than {MAX_VALUES} values")
            return f"({' OR '.join(self._compare(name, '=', *value) for value in values)})"
        operator = self._next("an operator")
        if operator not in _OPERATORS:
            raise refused("filter", f"{operator!r} is no operator", f"use one of {' '.join(_OPERATORS)} in")
        return self._compare(name, operator, *self._value())

    def _compare(self, name: str, operator: str, value: str, is_string: bool) -> str:  # noqa: FBT001 # a token's two halves
        column = column_of(name, self.columns, self.parameters)
        if column is None:
            return self._wrong(f"there is no field {name[:100]!r}", f"known: {known(self.columns)}")
        if value == "null" and not is_string:
            if operator not in ("=", "!="):
                return self._wrong(f"{name} {operator} null means nothing", "use = null or != null")
            return f"{column.sql} IS {'' if operator == '=' else 'NOT '}NULL"
        try:
            return _sql(column, operator, typed(column.kind, value, is_string=is_string), self.parameters)
        except ValueError as error:
            return self._wrong(f"{name}: {error}", None)

    def _wrong(self, message: str, suggestion: str | None) -> str:
        self.problems.append(Problem("filter", message, suggestion))
        return "true"

    def _value(self) -> tuple[str, bool]:
        is_string = self.place < len(self.tokens) and self.tokens[self.place][0] == "string"
        text = self._next("a value")
        if not is_string and self.tokens[self.place - 1][0] == "symbol":
            raise refused("filter", f"{text!r} is no value", "a string stands in double quotes")
        if not is_string:
            return text, False
        try:
            return json.loads(text, strict=False), True
        except ValueError as error:
            raise refused("filter", f"{text[:100]} is no string: {error}") from error

    def _takes(self, word: str) -> bool:
        is_there = self.place < len(self.tokens) and self.tokens[self.place] in (("word", word), ("symbol", word))
        self.place += is_there
        return is_there

    def _expect(self, symbol: str) -> None:
        if not self._takes(symbol):
            raise refused(
                "filter", f"{symbol!r} is missing after {' '.join(token for _, token in self.tokens[: self.place])!r}"
            )

    def _next(self, what: str) -> str:
        if self.place == len(self.tokens):
            raise refused("filter", f"ends where {what} should stand")
        self.place += 1
        return self.tokens[self.place - 1][1]


def typed(kind: Kind, value: str, *, is_string: bool) -> Value:
    """Return a value as what a field holds. Raises ValueError."""
    if not _is_text(value):
        raise ValueError("text has characters that nothing here can have")
    match kind:
        case Kind.TEXT | Kind.LABELS:
            return value
        case Kind.NUMBER:
            return _number(value)
        case Kind.TIME:
            return time_of(value)
        case Kind.TRUTH:
            if value not in ("true", "false"):
                raise ValueError(f"{value[:50]!r} is not {kind.value}")
            return value == "true"
        case Kind.JSON:
            if is_string:
                return value
            try:
                return _number(value)
            except ValueError:
                return value


def _number(value: str) -> float | int:
    try:
        number = int(value) if value.lstrip("-").isdecimal() and value.isascii() else float(value)
    except ValueError as error:
        raise ValueError(f"{value[:50]!r} is not a number") from error
    if abs(number) > MAX_INT if isinstance(number, int) else not math.isfinite(number):
        raise ValueError(f"{value[:50]} is beyond what is counted here")
    return number


def _is_text(value: str) -> bool:
    """Say whether PostgreSQL can have a text."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)


def time_of(value: str) -> datetime:
    """Return the instant (UTC) that a time with an offset means. Raises ValueError."""
    try:
        instant = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{value[:50]!r} is not {Kind.TIME.value}") from error
    if instant.tzinfo is None:
        raise ValueError(f"{value[:50]!r} has no offset; end it with Z")
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{value[:50]!r} is beyond what is counted here") from error


def _sql(column: Column, operator: str, value: Value, parameters: Parameters) -> str:
    if column.kind is Kind.LABELS:
        if operator not in ("=", "!="):
            raise ValueError(f"labels are compared with = and !=, not with {operator}")
        return f"{'' if operator == '=' else 'NOT '}{column.sql} @> ARRAY[{parameters.add(value, 'text')}]"
    sql = _as_type(column, value)
    if operator == "~":
        if not isinstance(value, str) or column.kind is Kind.TIME:
            raise ValueError("~ looks into text only")
        return f"COALESCE(strpos(lower({sql}), lower({parameters.add(value, 'text')})) > 0, false)"
    compared = {"!=": "IS DISTINCT FROM", "=": "="}.get(operator, operator)
    return (
        f"COALESCE({sql} {compared} {parameters.add(value, postgres_type(value))}, false)"
        if operator not in ("=", "!=")
        else f"{sql} {compared} {parameters.add(value, postgres_type(value))}"
    )


def _as_type(column: Column, value: Value) -> str:
    if column.kind is not Kind.JSON:
        return column.sql
    if isinstance(value, int | float):
        return f"(CASE WHEN jsonb_typeof({column.sql}) = 'number' THEN ({column.sql} #>> '{{}}')::float8 END)"
    return f"({column.sql} #>> '{{}}')"


def postgres_type(value: Value) -> str:
    """Return the PostgreSQL type that a value is compared as."""
    match value:
        case bool():
            return "boolean"
        case int():
            return "bigint"
        case float():
            return "float8"
        case datetime():
            return "timestamptz"
        case _:
            return "text"

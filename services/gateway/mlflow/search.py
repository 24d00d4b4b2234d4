"""Searches as SQL: every name and value of a filter is a parameter, only operators and our own columns are text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from services.gateway.filters import Parameters
from services.gateway.mlflow.grammar import Condition, Kind, Order, Subject
from shared.errors import Problem, Rejected

_ORDERED = ("<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What can be searched, over the row `r`: SQL of attributes, and of the columns that hold texts by name.

    `metric` is SQL of a metric's value, with {key} for its name.
    """

    texts: Mapping[str, str]
    numbers: Mapping[str, str]
    maps: Mapping[Kind, str]
    metric: str | None = None
    has_datasets: bool = False


def where(space: Space, conditions: Iterable[Condition], bound: Parameters) -> str:
    """Return SQL that holds for the rows wanted. Raises Rejected (400) for what cannot be compared like that."""
    return " AND ".join(["true", *(_condition(space, condition, bound) for condition in conditions)])


def order_by(space: Space, orders: Sequence[Order], bound: Parameters, last: str) -> str:
    """Return SQL to order by; rows without a value come last, and `last` settles the rest."""
    items = [
        f"{_orderable(space, order.subject, bound)} {'DESC' if order.descending else 'ASC'} NULLS LAST"
        for order in orders
    ]
    return ", ".join([*items, last])


def _condition(space: Space, condition: Condition, bound: Parameters) -> str:
    kind, key = condition.subject
    if kind is Kind.METRIC and space.metric is not None:
        return _number(space.metric.format(key=bound.add(key, "text")), condition, bound)
    if kind is Kind.ATTRIBUTE and key.lower() in space.numbers:
        return _number(space.numbers[key.lower()], condition, bound)
    if kind is Kind.ATTRIBUTE and key.lower() in space.texts:
        return _text(space.texts[key.lower()], condition, bound)
    if kind in space.maps:
        column, name = space.maps[kind], bound.add(key, "text")
        if condition.operator == "=" and isinstance(condition.value, str):  # as an index can answer it
            return f"{column} @> jsonb_build_object({name}, {bound.add(condition.value, 'text')})"
        return _text(f"({column} ->> {name})", condition, bound)
    if kind is Kind.DATASET and space.has_datasets and key in ("name", "digest", "context"):
        value = "d -> 'tags' ->> 'mlflow.data.context'" if key == "context" else f"d ->> '{key}'"
        return f"EXISTS (SELECT FROM jsonb_array_elements(r.datasets) d WHERE {_text(f'({value})', condition, bound)})"
    raise _unknown(space, condition.subject)


def _number(expression: str, condition: Condition, bound: Parameters) -> str:
    if not isinstance(condition.value, float) or condition.operator in ("LIKE", "ILIKE"):
        raise _mistake(condition.subject, "is a number: compare it with one by =, !=, <, <=, > or >=")
    return f"{expression} {condition.operator} {bound.add(condition.value, 'float8')}"


def _text(expression: str, condition: Condition, bound: Parameters) -> str:
    match condition.value:
        case None:
            return f"{expression} {condition.operator}"
        case tuple():
            place = bound.add(list(condition.value), "text[]")
            return f"{expression} {'= ANY' if condition.operator == 'IN' else '<> ALL'} ({place})"
        case str() if condition.operator not in _ORDERED:
            return f"{expression} {condition.operator} {bound.add(condition.value, 'text')}"
        case _:
            raise _mistake(condition.subject, "is a text: compare it with one in quotes by =, !=, LIKE, ILIKE or IN")


def _orderable(space: Space, subject: Subject, bound: Parameters) -> str:
    kind, key = subject
    if kind is Kind.METRIC and space.metric is not None:
        return space.metric.format(key=bound.add(key, "text"))
    if kind is Kind.ATTRIBUTE and (found := {**space.numbers, **space.texts}.get(key.lower())):
        return found
    if kind in space.maps:
        return f"({space.maps[kind]} ->> {bound.add(key, 'text')})"
    raise _unknown(space, subject)


def _unknown(space: Space, subject: Subject) -> Rejected:
    attributes = ", ".join(sorted([*space.texts, *space.numbers]))
    kinds = [kind.value for kind in space.maps] + (["metrics"] if space.metric else [])
    return _mistake(subject, f"cannot be searched by; attributes are {attributes}; else {', '.join(sorted(kinds))}")


def _mistake(subject: Subject, message: str) -> Rejected:
    problem = Problem(f"{subject.kind.value}.{subject.key[:100]}", message)
    return Rejected("this cannot be searched for", (problem,), status=HTTPStatus.BAD_REQUEST)

"""MLflow's search filters, parsed: `metrics.accuracy > 0.9 and params."model-type" like 'res%' and status = 'FAILED'`.

    filter     = [condition {AND condition}]
    condition  = subject (comparator value | [NOT] IN "(" text {"," text} ")" | IS [NOT] NULL)
    subject    = [kind "."] key        kind: metrics, params, tags, attributes, datasets; none: an attribute
    comparator = "=" | "!=" | "<" | "<=" | ">" | ">=" | LIKE | ILIKE
    order      = subject [ASC | DESC]

Keys may be quoted with " or `, texts with ' or ". https://mlflow.org/docs/latest/search-runs.html
"""

import re
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import NamedTuple

from shared.errors import Problem, Rejected

MAX_LENGTH = 10_000
MAX_CONDITIONS = 50

Value = str | float | tuple[str, ...] | None


class Kind(Enum):
    """What of a run, an experiment or a model is looked at."""

    METRIC = "metrics"
    PARAM = "params"
    TAG = "tags"
    ATTRIBUTE = "attributes"
    DATASET = "datasets"


_KINDS = {
    **dict.fromkeys(("metric", "metrics"), Kind.METRIC),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), Kind.PARAM),
    **dict.fromkeys(("tag", "tags"), Kind.TAG),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), Kind.ATTRIBUTE),
    **dict.fromkeys(("dataset", "datasets"), Kind.DATASET),
}
_TOKEN = re.compile(
    r"""(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w]))
      | (?P<text>'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `[^`]*`)
      | (?P<word>\w[\w/-]*)
      | (?P<sign>!=|<=|>=|<>|==|[=<>().,])""",
    re.VERBOSE,
)
_SIGNS = {"=": "=", "==": "=", "!=": "<>", "<>": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_WORDS = ("LIKE", "ILIKE")


class Subject(NamedTuple):
    """What is compared or ordered by."""

    kind: Kind
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A comparison; its operator is SQL's. IN has texts as its value, IS NULL none."""

    subject: Subject
    operator: str
    value: Value = None


class Order(NamedTuple):
    """What a search is ordered by."""

    subject: Subject
    descending: bool


class _Token(NamedTuple):
    kind: str
    text: str
    at: int

    @property
    def upper(self) -> str:
        return self.text.upper() if self.kind == "word" else self.text


def parse_filter(text: str) -> tuple[Condition, ...]:
    """Return the conditions of a filter; all must hold. Raises Rejected (400) that says where it is wrong."""
    reader = _Reader("filter", text)
    conditions: list[Condition] = []
    while not reader.is_over:
        if conditions:
            reader.expect("AND")
        conditions.append(reader.condition())
    if len(conditions) > MAX_CONDITIONS:
        raise reader.mistake(f"has {len(conditions)} conditions; at most {MAX_CONDITIONS}")
    return tuple(conditions)


def parse_order(text: str) -> Order:
    """Return one item of order_by. Raises Rejected (400)."""
    reader = _Reader("order_by", text)
    subject = reader.subject()
    descending = reader.take("DESC")
    if not descending:
        reader.take("ASC")
    if not reader.is_over:
        raise reader.mistake("ends with something that is neither ASC nor DESC")
    return Order(subject, descending)


class _Reader:
    """Reads tokens one after the other."""

    def __init__(self, field: str, text: str) -> None:
        self._field = field
        self._text = text
        self._tokens = self._split(text)
        self._next = 0

    @property
    def is_over(self) -> bool:
        return self._next == len(self._tokens)

    def mistake(self, message: str) -> Rejected:
        at = len(self._text) if self.is_over else self._tokens[self._next].at
        where = f"{message}, at character {at + 1}: …{self._text[max(0, at - 20) : at + 20]}"
        example = "such as: metrics.accuracy > 0.9 and params.optimizer = 'adam'"
        problem = Problem(self._field, where, example if self._field == "filter" else "such as: metrics.accuracy DESC")
        return Rejected("this cannot be searched for", (problem,), status=HTTPStatus.BAD_REQUEST)

    def take(self, *texts: str) -> bool:
        """Step over the next token if it is one of these."""
        if not self.is_over and self._tokens[self._next].upper in texts:
            self._next += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.mistake(f"{text} is missing")

    def condition(self) -> Condition:
        subject = self.subject()
        if self.take("IS"):
            negated = self.take("NOT")
            self.expect("NULL")
            return Condition(subject=subject, operator="IS NOT NULL" if negated else "IS NULL")
        negated = self.take("NOT")
        if self.take("IN"):
            return Condition(subject=subject, operator="NOT IN" if negated else "IN", value=self._texts())
        if negated:
            raise self.mistake("after NOT comes IN")
        return Condition(subject=subject, operator=self._comparator(), value=self._value())

    def subject(self) -> Subject:
        first = self._key()
        rest = []
        while self.take("."):
            rest.append(self._key())
        if not rest:
            return Subject(Kind.ATTRIBUTE, first)
        kind = _KINDS.get(first.lower())
        if kind is None:
            raise self.mistake(f"{first[:50]} is none of {', '.join(kind.value for kind in Kind)}")
        return Subject(kind, ".".join(rest))

    def _key(self) -> str:
        token = self._step("a name")
        if token.kind == "sign" or token.text.startswith("'"):
            self._next -= 1
            raise self.mistake("a name is missing")
        return _unquoted(token)

    def _comparator(self) -> str:
        token = self._step("a comparator")
        if token.text in _SIGNS:
            return _SIGNS[token.text]
        if token.upper in _WORDS:
            return token.upper
        self._next -= 1
        raise self.mistake(f"a comparator is missing: {', '.join([*_SIGNS, *_WORDS])}, IN or IS NULL")

    def _value(self) -> str | float:
        token = self._step("a value")
        if token.kind == "number":
            return float(token.text)
        if token.kind == "text" and not token.text.startswith("`"):
            return _unquoted(token)
        self._next -= 1
        raise self.mistake("a value is missing: a number, or a text in quotes")

    def _texts(self) -> tuple[str, ...]:
        self.expect("(")
        found: list[str] = []
        while not found or self.take(","):
            value = self._value()
            if not isinstance(value, str):
                raise self.mistake("IN takes texts in quotes")
            found.append(value)
        self.expect(")")
        return tuple(found)

    def _step(self, what: str) -> _Token:
        if self.is_over:
            raise self.mistake(f"{what} is missing")
        self._next += 1
        return self._tokens[self._next - 1]

    def _split(self, text: str) -> list[_Token]:
        self._tokens, self._next = [], 0
        if len(text) > MAX_LENGTH or "\0" in text:
            raise self.mistake(f"is longer than {MAX_LENGTH} characters, or has a NUL character")
        found: list[_Token] = []
        at = 0
        while at < len(text):
            if text[at].isspace():
                at += 1
                continue
            match = _TOKEN.match(text, at)
            if match is None:
                raise self.mistake(f"character {at + 1} makes no sense: {text[at]!r}")
            found.append(_Token(str(match.lastgroup), match.group(), at))
            at = match.end()
        return found


def _unquoted(token: _Token) -> str:
    if token.kind != "text":
        return token.text
    return re.sub(r"\\(.)", r"\1", token.text[1:-1]) if token.text[0] != "`" else token.text[1:-1]

"""Reads the text of an experiment file, which may be hostile, into plain values.

YAML is read by the core schema of YAML 1.2, which is what people expect of a configuration: `1e-3` is a number,
`no` and `2024-01-01` are text. Nesting, size and what aliases expand to are bounded before anything is built; no tag
makes an object; a key given twice is a mistake. JSON is read as such, because its escapes are not all YAML.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from shared.config.problems import Path, path_text
from shared.errors import Problem, Rejected

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 48
MAX_VALUES = 100_000
MAX_INT = 2**63 - 1

_TAG = "tag:yaml.org,2002:"
_NUMBERS = {"0x": 16, "0o": 8}
_TOO_MUCH = f"the experiment file holds more than {MAX_VALUES:,} values, counting what aliases repeat"
_TOO_DEEP = f"the experiment file is nested more than {MAX_DEPTH} deep"


class _Loader(yaml.CSafeLoader):
    """Resolves plain scalars by the core schema of YAML 1.2, below."""


_Loader.yaml_implicit_resolvers = {}

for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), _first)


def read_document(text: str) -> tuple[object, list[Problem]]:
    """Return the plain values in a text and the mistakes that did not keep it from being read.

    Raises Rejected when the text is not YAML at all or passes a limit.
    """
    if len(text) > MAX_BYTES or len(text.encode(errors="replace")) > MAX_BYTES:
        raise Rejected(f"the experiment file is larger than {MAX_BYTES:,} bytes", status=413)
    problems: list[Problem] = []
    value = _read_json(text) if text.lstrip().startswith("{") else None
    if value is None:
        value = _read_yaml(text, problems)
    problems += _unfit_values(value)
    return value, problems


def _read_json(text: str) -> object | None:
    try:
        document: object = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None  # reading it as YAML says what is wrong, and where
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key is given twice")
    return mapping


def _read_yaml(text: str, problems: list[Problem]) -> object:
    try:
        _refuse_excess(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise Rejected("the experiment file is not valid YAML", (_syntax_problem(error),)) from error
    except yaml.YAMLError as error:
        raise Rejected("the experiment file is not valid YAML", (Problem("", str(error).splitlines()[0]),)) from error
    return None if node is None else _Builder(problems).build(node, ())


def _refuse_excess(text: str) -> None:
    """Look at size and nesting without building anything: composing is recursive, this is not."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise Rejected(_TOO_DEEP)
        if number > 2 * MAX_VALUES:  # a value in a mapping has a key
            raise Rejected(_TOO_MUCH)


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    context = f" {error.context}" if error.context else ""
    return Problem(where, f"{error.problem or 'syntax error'}{context}")


class _Builder:
    """Turns YAML nodes into plain values and notes what is wrong with them."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems
        self._num_values = 0
        self._num_chars = 0

    def build(self, node: yaml.Node, path: Path) -> object:
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            raise Rejected(_TOO_MUCH)
        if len(path) > MAX_DEPTH:
            raise Rejected(_TOO_DEEP)  # an alias inside its own anchor has no end
        match node:
            case yaml.MappingNode() if node.tag == f"{_TAG}map":
                return self._mapping(node, path)
            case yaml.SequenceNode() if node.tag == f"{_TAG}seq":
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                self._count(node.value)
                return self._scalar(node, path)
        self._note_tag(node, path)
        return None

    def _count(self, text: str) -> None:
        """An alias repeats its text for nothing here, but in full wherever the values are written."""
        self._num_chars += len(text)
        if self._num_chars > MAX_BYTES:
            raise Rejected(
                f"the experiment file holds more than {MAX_BYTES:,} characters, counting what aliases repeat"
            )

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        mapping: dict[str, object] = {}
        merged: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                merged = self._merged(value_node, path) | merged
                continue
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                self._note((*path, "?"), f"a key must be text, line {key_node.start_mark.line + 1}")
                continue
            self._count(key)
            if key in mapping:
                self._note((*path, key), f"is given twice, again in line {key_node.start_mark.line + 1}")
            mapping[key] = self.build(value_node, (*path, key))
        return merged | mapping

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, object]:
        """What `<<` brings in: of several mappings the earlier wins, and the mapping's own keys win over all."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, object] = {}
        for source in sources:
            value = self.build(source, (*path, "<<"))
            if isinstance(value, dict):
                merged = value | merged
            else:
                self._note((*path, "<<"), "must name a mapping")
        return merged

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str" | "merge":
                return text
            case "null":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" | "float" as kind:
                return self._number(text, kind, path)
        self._note_tag(node, path)
        return None

    def _number(self, text: str, kind: str, path: Path) -> object:
        try:
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            return int(text, _NUMBERS.get(text[:2], 10))
        except ValueError:
            self._note(path, f"is not a number that can be used: {text[:40]!r}")
            return text

    def _note_tag(self, node: yaml.Node, path: Path) -> None:
        self._note(path, f"has the tag {node.tag[:80]!r}; an experiment file holds plain values only")

    def _note(self, path: Path, message: str) -> None:
        self._problems.append(Problem(path_text(path), message))


def _unfit_values(value: object) -> Iterator[Problem]:
    """Yield a problem for each value that JSON, msgpack or the database could not hold."""
    num_values = 0
    pending: list[tuple[Path, object]] = [((), value)]
    while pending:
        path, value = pending.pop()
        num_values += 1
        if num_values > MAX_VALUES:
            raise Rejected(_TOO_MUCH)
        if len(path) > MAX_DEPTH:
            raise Rejected(_TOO_DEEP)
        match value:
            case dict():
                pending += [((*path, key), item) for key, item in reversed(value.items())]
                pending += [((*path, "?"), key) for key in value if _complaint(key)]
            case list():
                pending += [((*path, index), item) for index, item in reversed(list(enumerate(value)))]
            case _ if complaint := _complaint(value):
                yield Problem(path_text(path), complaint)


def _complaint(value: object) -> str | None:
    match value:
        case bool():
            return None
        case int() if abs(value) > MAX_INT:
            return "is a whole number beyond 64 bits"
        case float() if not math.isfinite(value):
            return "must be a finite number"
        case str() if "\0" in value or not _is_utf8(value):
            return "holds a character that cannot be stored"
    return None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

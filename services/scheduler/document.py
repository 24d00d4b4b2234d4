"""Reads the text of a simulation file, JSON or YAML, into plain values; a key given twice is a mistake."""

import json
from collections.abc import Hashable
from typing import Any

import yaml

from shared.errors import Problem, Rejected

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 32


class _GivenTwice(ValueError):
    """A key of a JSON object is given twice."""


class _Loader(yaml.CSafeLoader):
    """Makes plain values, and no mapping of which a key is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 # as PyYAML has it
        """Return the mapping. Raises a ConstructorError where a key is given twice."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def read_plain(text: str) -> object:
    """Return the plain values in a text. Raises Rejected, saying where it is wrong."""
    if len(text) > MAX_BYTES:
        raise Rejected(f"the simulation file is larger than {MAX_BYTES:,} bytes")
    try:
        value: object = json.loads(text, object_pairs_hook=_unique)
    except _GivenTwice as error:
        raise _mistake(str(error)) from error
    except (ValueError, RecursionError):  # reading it as YAML says what is wrong, and where
        value = _read_yaml(text)
    return value


def _read_yaml(text: str) -> object:
    try:
        _refuse_depth(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 # it is a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _mistake(error.problem or "syntax error", where) from error
    except (ValueError, yaml.YAMLError) as error:
        raise _mistake(str(error)) from error


def _refuse_depth(text: str) -> None:
    """Look at the nesting without building anything: building is recursive, this is not."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _mistake(f"it is nested more than {MAX_DEPTH} deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        raise _GivenTwice(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return mapping


def _mistake(what: str, where: str = "") -> Rejected:
    return Rejected("the simulation file is neither JSON nor YAML that can be used", (Problem(where, what),))

"""Turns what pydantic found into problems that name the path, the mistake and the nearest thing that would be right."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.errors import Problem

MAX_PROBLEMS = 100
MAX_SHOWN = 60
MAX_LISTED = 10

Path = tuple[str | int, ...]

_TAG = re.compile(r"<.*>")
_MEANINGS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} item",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
}


def path_text(path: Iterable[str | int]) -> str:
    """Return a path as people write it: `hyperparameters.lr.minval`, `labels[2]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")[:200]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The keys an experiment file may hold."""

    models: Mapping[str, type[BaseModel]]  # the part of a location before a key -> the model that knows the key
    homes: Mapping[str, str]  # key -> its whole path, for keys that were put into the wrong section


def nearest(word: str, known: Iterable[str], paths: Mapping[str, str] | None = None) -> str | None:
    """Return "did you mean …?" with the known word (or its path) that is most like the given one, or None."""
    found = difflib.get_close_matches(word[:100], sorted(known), n=1, cutoff=0.6 if paths is None else 0.8)
    return f"did you mean {(paths or {}).get(found[0], found[0])}?" if found else None


def problems_of(error: ValidationError, catalogue: Catalogue, within: Path = ()) -> list[Problem]:
    """Return a problem for each mistake in a validation error, the first MAX_PROBLEMS of them.

    `within` is where the validated part lies in the file. What is not finite the reader of the text has already told.
    """
    lines = (line | {"loc": (*within, *line["loc"])} for line in error.errors(include_url=False))
    return [_problem(line, catalogue) for line in islice(lines, MAX_PROBLEMS) if line["type"] != "finite_number"]


def _problem(line: Mapping[str, Any], catalogue: Catalogue) -> Problem:
    location: Path = line["loc"]
    path = path_text(part for part in location if not _is_tag(part))
    match line["type"]:
        case "extra_forbidden":
            return _unknown_key(location, path, catalogue)
        case "missing":
            return Problem(path, "is required")
        case "union_tag_invalid":
            return _unknown_kind(line, path)
    return Problem(path, _meaning(line))


def _unknown_key(location: Path, path: str, catalogue: Catalogue) -> Problem:
    key, section = str(location[-1]), str(location[-2]) if len(location) > 1 else ""
    if catalogue.homes.get(key) == path:
        return Problem(path, f"is not used by {section[1:-1]}")
    known = catalogue.models[section].model_fields
    suggestion = nearest(key, known) or nearest(key, catalogue.homes, catalogue.homes)
    if suggestion is None and len(known) <= MAX_LISTED:
        suggestion = f"known here: {', '.join(sorted(known))}"
    return Problem(path, f"unknown key for {section[1:-1]}" if _is_tag(section) else "unknown key", suggestion)


def _unknown_kind(line: Mapping[str, Any], path: str) -> Problem:
    """A union's discriminator has no value, or one that no branch has: searcher.name, a hyperparameter's type."""
    given = line["ctx"]["tag"][1:-1]
    known = [name for name in re.findall(r"<([^>]*)>", line["ctx"]["expected_tags"]) if name]
    field = "name" if path == "searcher" else "type"
    one_of = f"one of {', '.join(known)}"
    if not given:
        return Problem(f"{path}.{field}", "is required", one_of)
    return Problem(f"{path}.{field}", f"unknown {field} {_shown(given)}", nearest(given, known) or one_of)


def _meaning(line: Mapping[str, Any]) -> str:
    template = _MEANINGS.get(line["type"])
    message = template.format(**line.get("ctx", {})) if template else line["msg"][0].lower() + line["msg"][1:]
    value = line["input"]
    return message if isinstance(value, dict | list | tuple) else f"{message}, found {_shown(value)}"


def _shown(value: object) -> str:
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and _TAG.fullmatch(part) is not None

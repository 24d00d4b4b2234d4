"""What of a newer OpenAPI description would break a client of an older one.

Broken: an operation, a parameter or an answer's field that is gone or has another type, a parameter or a body's field
that is newly required, an answer's status that is gone. A new operation, an optional parameter, a new field of an
answer and a new value of one are not: clients ignore what they do not know. Nor is a field of an answer that could be
anything and is said to be something now.
"""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def breaking_changes(old: Json, new: Json) -> list[str]:
    """Return what breaks, each in words; nothing if nothing does."""
    return list(_changes(old, new))


def _changes(old: Json, new: Json) -> Iterator[str]:
    bodies = {name for _, _, operation in _operations(old) for name in _body(operation)}
    for path, method, before in _operations(old):
        after = new["paths"].get(path, {}).get(method)
        if after is None:
            yield f"{method} {path} is gone"
        else:
            yield from _operation(f"{method} {path}", before, after)
            yield from _answers(f"{method} {path}", (old, before), (new, after))
    for name, before in old["components"]["schemas"].items():
        after = new["components"]["schemas"].get(name)
        if after is not None:
            yield from _schema(name, before, after, is_body=name in bodies)


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _body(operation: Json) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {})
    return [part["schema"]["$ref"].rpartition("/")[2] for part in content.values() if "$ref" in part["schema"]]


def _operation(where: str, before: Json, after: Json) -> Iterator[str]:
    known = {(one["in"], one["name"]): one for one in before["parameters"]}
    now = {(one["in"], one["name"]): one for one in after["parameters"]}
    for key in known.keys() - now.keys():
        yield f"{where}: parameter {key[1]} is gone"
    for key, one in now.items():
        if one.get("required") and not known.get(key, {}).get("required"):
            yield f"{where}: parameter {key[1]} is required now"
    for key in known.keys() & now.keys():
        if _type(known[key].get("schema", {})) != _type(now[key].get("schema", {})):
            yield f"{where}: parameter {key[1]} has another type"
    for status in before["responses"].keys() - after["responses"].keys():
        if status.startswith("2"):
            yield f"{where}: no answer {status} any more"


def _answers(where: str, old: tuple[Json, Json], new: tuple[Json, Json]) -> Iterator[str]:
    """Compare what an operation answers where the type has another name now; the others are compared by their names."""
    for status, was in old[1]["responses"].items():
        now = new[1]["responses"].get(status, {})
        for media_type, content in was.get("content", {}).items() if status.startswith("2") and now else ():
            if media_type not in now.get("content", {}):
                yield f"{where}: the answer {status} is no {media_type} any more"
                continue
            names = [one.get("schema", {}).get("$ref") for one in (content, now["content"][media_type])]
            if names[0] != names[1]:
                before, after = (_resolved(*pair) for pair in zip((old[0], new[0]), names, strict=True))
                yield from _schema(f"{where}: the answer", before, after, is_body=False)


def _resolved(document: Json, reference: str | None) -> Json:
    found: Json = document["components"]["schemas"][reference.rpartition("/")[2]] if reference else {}
    return found


def _schema(name: str, before: Json, after: Json, *, is_body: bool) -> Iterator[str]:
    if is_body:
        for field in set(after.get("required", ())) - set(before.get("required", ())):
            yield f"{name}.{field} is required now"
    for field, was in before.get("properties", {}).items():
        now = after.get("properties", {}).get(field)
        if now is None:
            yield f"{name}.{field} is gone"
        elif _type(was) != _type(now) and (is_body or not _is_anything(was)):
            yield f"{name}.{field} has another type"


def _is_anything(schema: Json) -> bool:
    others = schema.keys() - {"default", "description"}
    return not others or (others == {"anyOf"} and any(map(_is_anything, schema["anyOf"])))


def _type(schema: Json) -> object:
    """Return what of a schema says how a value is read; bounds and descriptions are not of it."""
    if "anyOf" in schema:
        return frozenset(map(str, map(_type, schema["anyOf"])))
    words = schema.get("enum", [None])
    return (
        schema.get("type") or ("string" if all(isinstance(word, str) for word in words) else None),
        schema.get("$ref"),
        schema.get("format"),
        str(_type(schema.get("items", {})) if schema.get("items") else None),
    )

"""The OpenAPI 3.1 description, made of the same routes that are served.

`python -m services.gateway.openapi > docs/reference/openapi.json` writes it down; a test compares.
"""

import json
import re
import sys
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from services.gateway import idempotency, problems
from services.gateway.access.access import COOKIE
from services.gateway.api import MAX_SEQ, MIN_SEQ_HEADER, PREFIX, NoQuery, Route
from services.gateway.routes import ROUTES
from services.gateway.views.problems import Problem
from services.gateway.views.view import View

_REFERENCE = "#/components/schemas/{name}"
_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "of the administrator, or of a user"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "a browser's login"},
}
_BINARY = {"type": "string", "format": "binary"}
_ALWAYS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_WITH_KEY = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
_HEADERS = {
    MIN_SEQ_HEADER: "wait up to 2 s until this event is shown: TM-Seq of an earlier answer",
    "If-None-Match": "the ETag of an earlier answer: 304 if it would be the same",
    "If-Match": "the ETag of an earlier answer: 412 if it would be another by now",
    idempotency.HEADER: "sent twice with the same key, a request happens once (docs/api.md)",
}
_BOUND = {MIN_SEQ_HEADER: {"type": "integer", "minimum": 0, "maximum": MAX_SEQ}}
_BOUND |= {name: {"type": "string", "maxLength": 257} for name in _HEADERS if name != MIN_SEQ_HEADER}


def document(routes: Iterable[Route] = ROUTES) -> dict[str, Any]:
    """Return the description of the routes."""
    routes = tuple(routes)
    views: list[type] = [route.answer for route in routes if not isinstance(route.answer, str)]
    views += [route.body for route in routes if route.body]
    _, schemas = msgspec.json.schema_components([*dict.fromkeys(views), Problem], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trainmaster",
            "version": "1",
            "description": "Errors are problem documents (RFC 9457). TM-Seq is the log's sequence an answer shows.",
        },
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items())), "securitySchemes": _SCHEMES},
        "security": [{"token": []}, {"session": []}],
    }


def _path(route: Route) -> str:
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)


def _operation(route: Route) -> dict[str, Any]:
    is_ours = route.path.startswith(PREFIX)
    failures = {*_ALWAYS, *route.problems} if is_ours else {HTTPStatus.BAD_REQUEST}
    if is_ours and route.method == "POST":
        failures |= {*_WITH_KEY}
    if "{id}" in route.path:
        failures |= {HTTPStatus.NOT_FOUND}
    if route.body or route.forms:
        failures |= {
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
        }
    operation: dict[str, Any] = {
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route.query), *_headers(route)],
        "responses": {
            **{str(int(status)): _answer(route, status) for status in (route.status, *route.also)},
            **_unchanged(route),
            **{str(int(status)): _failure(status) for status in sorted(failures)},
        },
    }
    if route.forms:
        form = {"type": "object", "properties": dict.fromkeys(route.forms, _BINARY), "required": list(route.forms)}
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    if route.body:
        schema = {"$ref": _REFERENCE.format(name=route.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _headers(route: Route) -> list[dict[str, Any]]:
    names: list[str] = []
    if route.method == "GET" and route.path.startswith(PREFIX):
        names = [MIN_SEQ_HEADER, "If-None-Match"] if _is_tagged(route) else [MIN_SEQ_HEADER]
    elif route.method == "POST":
        names = [idempotency.HEADER]
    if HTTPStatus.PRECONDITION_FAILED in route.problems:
        names.append("If-Match")
    return [{"name": name, "in": "header", "description": _HEADERS[name], "schema": _BOUND[name]} for name in names]


def _is_tagged(route: Route) -> bool:
    return route.method == "GET" and not isinstance(route.answer, str) and route.path.startswith(PREFIX)


def _unchanged(route: Route) -> dict[str, Any]:
    return {"304": {"description": "Not Modified"}} if _is_tagged(route) else {}


def _answer(route: Route, status: int) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, "content": _content(route.answer)}


def _content(answer: type[View] | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {media_type: {} for media_type in answer.split(", ")}
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(name=answer.__name__)}}}


def _failure(status: int) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(name=Problem.__name__)}
    return {"description": HTTPStatus(status).phrase, "content": {problems.MEDIA_TYPE: {"schema": schema}}}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)", route.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(query: type[NoQuery]) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([query], ref_template=_REFERENCE)
    properties: dict[str, Any] = components[query.__name__].get("properties", {})
    required = components[query.__name__].get("required", ())
    return [
        {"name": name, "in": "query", **({"required": True} if name in required else {}), "schema": _present(schema)}
        for name, schema in properties.items()
    ]


def _present(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without null, which a query cannot hold: the parameter is left out instead."""
    found = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    return found[0] if len(found) == 1 else {key: value for key, value in schema.items() if value is not None}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=2) + "\n")

"""What an operation of MLflow's API is, and its frame: who may, what was asked, and failures in MLflow's words."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web

from services.gateway.access import permit
from services.gateway.access.access import principal
from services.gateway.api import PARTS, Parts, read_bytes
from services.gateway.mlflow.wire import Said, encode
from services.gateway.problems import RETRY_AFTER_S
from shared.errors import Conflict, NotFound, Problem, Rejected

PREFIX = "/api/2.0/mlflow"
ARTIFACTS_PREFIX = "/api/2.0/mlflow-artifacts"
SEGMENT = "mlflow"  # whose rule in the table of services.gateway.access.permit holds
MAX_BODY_BYTES = 1024 * 1024

_WITH_BODY = frozenset({"POST", "PATCH"})  # what is PUT is a file
_LISTS = frozenset({"run_ids", "experiment_ids", "order_by"})
_ERROR_CODES = {
    HTTPStatus.FORBIDDEN: "PERMISSION_DENIED",
    HTTPStatus.NOT_FOUND: "RESOURCE_DOES_NOT_EXIST",
    HTTPStatus.SERVICE_UNAVAILABLE: "TEMPORARILY_UNAVAILABLE",
    HTTPStatus.TOO_MANY_REQUESTS: "REQUEST_LIMIT_EXCEEDED",
}

AskedT = TypeVar("AskedT", bound=Said)


class AlreadyExists(Rejected):
    """What is to be made is there already."""

    def __init__(self, title: str) -> None:
        super().__init__(title, status=HTTPStatus.BAD_REQUEST)


@dataclass(frozen=True, slots=True)
class Asked(Generic[AskedT]):
    """One request, what it says checked."""

    request: web.Request
    said: AskedT

    @property
    def parts(self) -> Parts:
        """What there is to work with."""
        return self.request.app[PARTS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. One that only looks is open to viewers, also when it is a POST."""

    method: str
    path: str
    looks: bool
    respond: Callable[[web.Request], Awaitable[web.StreamResponse]]


def operation(
    method: str,
    path: str,
    said: type[AskedT],
    handle: Callable[[Asked[AskedT]], Awaitable[Said | web.StreamResponse]],
    *,
    looks: bool = False,
    prefix: str = PREFIX,
) -> Operation:
    """Return an operation; what is in its path counts as said."""

    async def respond(request: web.Request) -> web.StreamResponse:
        try:
            permit.check_somewhere(principal.get(), permit.needed(SEGMENT, is_look=looks))
            found = await handle(Asked(request, await _read(request, said)))
        except AlreadyExists as error:
            return failure(error.status, "RESOURCE_ALREADY_EXISTS", str(error))
        except Rejected as error:
            if error.status == HTTPStatus.NOT_FOUND and request.app[PARTS].position.is_behind:
                return failure(HTTPStatus.SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE", f"{error}: not shown yet")
            return failure(error.status, _ERROR_CODES.get(HTTPStatus(error.status)), str(error))
        except NotFound as error:
            return failure(HTTPStatus.NOT_FOUND, "RESOURCE_DOES_NOT_EXIST", f"there is no {error}")
        except Conflict:
            title = "others keep changing this at the same moment; try again"
            return failure(HTTPStatus.SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE", title)
        return found if isinstance(found, web.StreamResponse) else answer(found)

    return Operation(method=method, path=f"{prefix}/{path}", looks=looks, respond=respond)


def answer(said: Said) -> web.Response:
    """Return an answer as JSON."""
    return web.Response(body=encode(said), content_type="application/json", headers={"Cache-Control": "no-store"})


def failure(status: int, error_code: str | None, message: str) -> web.Response:
    """Return a failure as MLflow's clients read it."""
    status = HTTPStatus.BAD_REQUEST if error_code is None else status
    body = {"error_code": error_code or "INVALID_PARAMETER_VALUE", "message": message}
    headers = {"Retry-After": str(RETRY_AFTER_S[status])} if status in RETRY_AFTER_S else None
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", headers=headers)


async def unknown(request: web.Request) -> web.StreamResponse:
    """Answer what MLflow's API has and this one does not."""
    message = f"{request.method} {request.path} is no part of MLflow's API that Trainmaster has; see docs/mlflow.md"
    return failure(HTTPStatus.NOT_FOUND, "ENDPOINT_NOT_FOUND", message)


async def _read(request: web.Request, said: type[AskedT]) -> AskedT:
    """Return what a request says. Raises Rejected with every mistake."""
    given: dict[str, Any] = {}  # JSON that was not checked yet
    for name in request.query:
        given[name] = request.query.getall(name) if name in _LISTS else request.query[name]
    if request.method in _WITH_BODY:
        given |= await _body(request)
    given |= request.match_info
    problems: list[Problem] = []
    for field in msgspec.structs.fields(said):
        if field.name not in given:
            problems += [Problem(field.name, "is missing")] if field.required else []
            continue
        try:
            msgspec.convert(given[field.name], field.type, strict=False)
        except msgspec.ValidationError as error:
            problems.append(Problem(field.name, str(error)))
    if problems:
        raise Rejected("the request has mistakes", tuple(problems), status=HTTPStatus.BAD_REQUEST)
    return msgspec.convert(given, said, strict=False)


async def _body(request: web.Request) -> dict[str, Any]:
    body = await read_bytes(request, MAX_BODY_BYTES)
    try:
        return msgspec.json.decode(body, type=dict[str, Any]) if body else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(f"the body is no JSON object: {error}", status=HTTPStatus.BAD_REQUEST) from error

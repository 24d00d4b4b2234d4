"""Every operation of the description, asked with what fits it and with what does not: no 5xx, and no answer that the
description does not know (schemathesis)."""

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.gateway import openapi
from tests.gateway.conftest import ADMIN_TOKEN, Api
from tests.tracker import story

pytestmark = pytest.mark.timeout(400)

EXAMPLES = 4
WAITED_FOR = {"min_seq", "TM-Min-Seq"}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
STREAM = "text/event-stream"
MAX_TARGET_BYTES = 8190  # aiohttp's limit of a request's first line
READY = "/readyz"  # whose 503 is an answer: not all that a platform has runs here
OURS = {"experiments": story.EXPERIMENT, "trials": story.trial(1), "agents": story.AGENT, "pools": story.POOL}


async def test_no_request_gets_an_answer_that_the_description_does_not_know(api: Api) -> None:
    await story.tell(api.log, story.whole_search())
    schema = schemathesis.openapi.from_dict(openapi.document())
    described = list(schema.get_all_operations())
    operations = [one.ok() for one in described if isinstance(one, Ok)]
    assert len(operations) == len(described) > 70
    found = [finding for one in operations for finding in await asyncio.to_thread(findings, one, api.url)]
    assert not found, "\n\n".join(found)


def findings(operation: Any, url: str) -> list[str]:
    """Ask an operation with generated requests, one half about what is there; return what was wrong with answers."""
    found: list[str] = []
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
        for mode in GenerationMode:
            run = settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(given(case=operation.as_strategy(generation_mode=mode))(lambda case: check(case, session, url)))
            try:
                run()
            except FailureGroup as failures:
                found += [f"{operation.label}: {failure}" for failure in failures.exceptions]
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, operation.label  # everything fits an operation without input
    return found


def check(case: Any, session: requests.Session, url: str) -> None:
    kind = case.path.removeprefix("/api/v1/").split("/")[0]
    if kind in OURS and "id" in case.path_parameters and len(str(case.path_parameters["id"])) % 2:
        case.path_parameters = {**case.path_parameters, "id": OURS[kind]}
    for values in (case.query or {}, case.headers or {}):
        for name in WAITED_FOR & values.keys():
            if str(values[name]).isdecimal():
                values[name] = "1"  # which is there: one that is not costs 2 s
    with session.request(**case.as_transport_kwargs(base_url=url), timeout=10, stream=True) as response:
        if response.status_code == HTTPStatus.OK and response.headers["Content-Type"] == STREAM:
            assert STREAM in case.operation.definition.raw["responses"]["200"]["content"], case.path
        elif len(response.request.path_url) > MAX_TARGET_BYTES:
            assert response.status_code == HTTPStatus.BAD_REQUEST, case.path  # in plain text, by the server below us
        else:  # an answer that ends; some streams never do
            case.validate_response(response, checks=CHECKS if case.path != READY else CHECKS[1:])

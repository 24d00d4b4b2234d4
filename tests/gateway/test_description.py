"""No change of the API's description that would break a client of the released one."""

import json
from pathlib import Path

from services.gateway import openapi
from tests.gateway.breaking import breaking_changes

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_the_description_breaks_no_client_of_the_released_one() -> None:
    released = json.loads((REFERENCE / "openapi-released.json").read_text())
    assert breaking_changes(released, openapi.document()) == []


def test_what_breaks_a_client_is_found() -> None:
    old = openapi.document()
    new = json.loads(json.dumps(old))
    del new["paths"]["/api/v1/queue"]
    answers = new["paths"]["/api/v1/agents"]["get"]["responses"]["200"]["content"]["application/json"]
    answers["schema"]["$ref"] = "#/components/schemas/QueueView"
    new["paths"]["/api/v1/experiments"]["get"]["parameters"].append({"name": "x", "in": "query", "required": True})
    del new["components"]["schemas"]["Experiment"]["properties"]["name"]
    new["components"]["schemas"]["Trial"]["properties"]["index"] = {"type": "string"}
    old["components"]["schemas"]["Trial"]["properties"]["reason"] = {"anyOf": [{}, {"type": "null"}]}
    new["components"]["schemas"]["TrialState"]["enum"].append("LOST")
    new["components"]["schemas"]["WantedUser"]["required"].append("full_name")
    found = breaking_changes(old, new)
    assert len(found) == 6, found
    assert breaking_changes(old, json.loads(json.dumps(old))) == []

"""The AsyncAPI document is the catalogue's, and whole."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.events import CATALOGUE, Event
from shared.events.asyncapi import document, render
from tests.shared.samples import SAMPLES, envelope

ROOT = Path(__file__).parents[2]
DOCUMENT = document()


def references(value: Any) -> Iterator[str]:
    """Every $ref in a document."""
    if isinstance(value, dict):
        yield from [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def resolve(reference: str) -> Any:
    """What a local reference points at."""
    found: Any = DOCUMENT
    for key in reference.removeprefix("#/").split("/"):
        found = found[key]
    return found


def test_the_document_is_up_to_date() -> None:
    stored = (ROOT / "docs/reference/asyncapi.json").read_text()
    assert stored == render(), "run: python -m shared.events.asyncapi > docs/reference/asyncapi.json"


def test_it_is_json_with_the_parts_that_asyncapi_3_asks_for() -> None:
    read = json.loads(render())
    assert re.fullmatch(r"3\.\d+\.\d+", read["asyncapi"])
    assert read["info"]["title"] and read["info"]["version"]
    assert all({"host", "protocol"} <= server.keys() for server in read["servers"].values())
    for channel in read["channels"].values():
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == channel["parameters"].keys()
    for operation in read["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert operation["channel"]["$ref"].startswith("#/channels/")
        prefix = operation["channel"]["$ref"] + "/messages/"
        assert all(message["$ref"].startswith(prefix) for message in operation["messages"])


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 3 * len(CATALOGUE)
    assert all(isinstance(resolve(reference), dict) for reference in found)


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_an_events_subject_matches_its_channels_address(event: Event) -> None:
    address = DOCUMENT["channels"][type(event).__name__]["address"]
    assert re.fullmatch(re.sub(r"\{\w+\}", r"[^.]+", address.replace(".", r"\.")), str(envelope(event).subject))

"""The AsyncAPI 3 description of the log, generated from the catalogue:
`python -m shared.events.asyncapi > docs/reference/asyncapi.json`."""

import inspect
import json
import re
import sys
from typing import Any

import msgspec

from shared.events import CATALOGUE, Event

_SCHEMA = "#/components/schemas/{name}"

#: Where the writer depends on the event's fields.
_WRITERS = {"agent": "worker-{agent_id}", "trial": "worker-{agent_id}", "leader": "{service}"}

_DESCRIPTION = (
    "Every fact that a decision can depend on is one message on the JetStream stream EVENTS, in one total order, "
    "kept for ever. Bodies are msgpack maps with the attributes of CloudEvents 1.0; schemas show them as JSON would "
    "(time is a msgpack timestamp, base64 strings are msgpack bin). Readers ignore fields and types they do not know."
)

_ENVELOPE: dict[str, Any] = {
    "id": {"type": "string", "description": "unique to the event"},
    "specversion": {"type": "string", "const": "1.0"},
    "source": {"type": "string", "description": "the writer, as in the subject"},
    "subject": {"type": "string", "description": "<aggregate>/<id>"},
    "time": {"type": "string", "format": "date-time"},
    "actor": {"type": "string", "description": "the user or service on whose behalf it was said"},
    "correlation": {"type": "string", "description": "the experiment"},
    "causes": {
        "type": "array",
        "items": {"type": "integer", "minimum": 1},
        "description": "stream sequences of the events that made this one necessary",
    },
    "position": {"type": "integer", "description": "up to which sequence its writer had folded when it decided"},
    "traceparent": {"type": "string", "description": "W3C trace context"},
}
_ALWAYS_THERE = ("id", "source", "type", "subject", "time", "tmversion", "actor", "correlation", "data")


def document() -> dict[str, Any]:
    """Return the description."""
    _, schemas = msgspec.json.schema_components(CATALOGUE.values(), ref_template=_SCHEMA)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Trainmaster event log", "version": "1", "description": _DESCRIPTION},
        "defaultContentType": "application/msgpack",
        "servers": {
            "nats": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "NATS 2.12 or newer, JetStream"}
        },
        "channels": {name: _channel(name, event) for name, event in CATALOGUE.items()},
        "operations": {
            f"say{name}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
            }
            for name in CATALOGUE
        },
        "components": {
            "messages": {name: _message(name, event) for name, event in CATALOGUE.items()},
            "schemas": dict(sorted(schemas.items())),
        },
    }


def _channel(name: str, event: type[Event]) -> dict[str, Any]:
    writer = getattr(event, "writer", None) or _WRITERS[event.aggregate]
    address = f"tm.{writer}.{event.aggregate}.{{{event.aggregate_field}}}.{name}"
    return {
        "address": address,
        "parameters": {parameter: {} for parameter in sorted(set(re.findall(r"\{(\w+)\}", address)))},
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }


def _message(name: str, event: type[Event]) -> dict[str, Any]:
    exact = {
        "type": {"type": "string", "const": name},
        "tmversion": {"type": "integer", "const": event.version, "description": "the version of the shape of data"},
        "data": {"$ref": _SCHEMA.format(name=name)},
    }
    return {
        "name": name,
        "summary": inspect.cleandoc(event.__doc__ or "").replace("\n", " "),
        "payload": {"type": "object", "properties": _ENVELOPE | exact, "required": list(_ALWAYS_THERE)},
    }


def render() -> str:
    """Return the description as JSON."""
    return json.dumps(document(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())

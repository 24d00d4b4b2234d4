"""The event reference, generated from the catalogue: `python -m shared.events.reference > docs/reference/events.md`."""

import inspect
import re
import sys
import typing

import msgspec

from shared.events import CATALOGUE, Event
from shared.events.grounds import Grounds

#: Where the writer depends on the event's fields.
_WRITERS = {"agent": "worker-<agent_id>", "trial": "worker-<agent_id>", "leader": "<service>"}

_HEAD = """# Event reference

Generated from `shared/events` by `python -m shared.events.reference`; do not edit.

A fact is one message on the stream `EVENTS`, subject `tm.<writer>.<aggregate>.<id>.<EventName>`. Its body is one
msgpack map with the attributes of CloudEvents 1.0: `id`, `source` (the writer), `type` (the event's name), `subject`,
`time` (UTC), `tmversion` (the version of the event's shape), `actor`, `correlation` (the experiment), `causes` (the
stream sequences of the events that made this one necessary), `position` (of a service's own decision: up to which
sequence it had folded), `traceparent` and `data` (the fields below). The broker lets each service publish under its
own writer only, and readers set aside what its writer may not say.
"""

_GROUNDS = """## Grounds

What a decision went by, as structure. Events of older programs have none.
"""


def render() -> str:
    """Return the reference as Markdown."""
    sections = [_section(name, event) for name, event in CATALOGUE.items()]
    return "\n".join([_HEAD, *sections, _GROUNDS, *map(_ground, Grounds.__subclasses__())])


def _ground(ground: type[Grounds]) -> str:
    described = inspect.cleandoc(ground.__doc__ or "").replace("\n", " ")
    return f"### {ground.__name__}\n\n{described}\n\n{_table(ground)}"


def _table(struct: type[msgspec.Struct]) -> str:
    fields = "\n".join(_row(field, struct) for field in msgspec.structs.fields(struct))
    return f"| field | type |\n|---|---|\n{fields}\n"


def _section(name: str, event: type[Event]) -> str:
    described = inspect.cleandoc(event.__doc__ or "").replace("\n", " ")
    writer = getattr(event, "writer", None) or _WRITERS[event.aggregate]
    subject = f"tm.{writer}.{event.aggregate}.<{event.aggregate_field}>.{name}"
    return f"## {name}\n\n{described}\n\nSubject `{subject}`, version {event.version}.\n\n{_table(event)}"


def _row(field: msgspec.structs.FieldInfo, struct: type[msgspec.Struct]) -> str:
    return f"| `{field.name}` | {_type_name(typing.get_type_hints(struct)[field.name])} |"


def _type_name(annotation: object) -> str:
    name = getattr(annotation, "__name__", None) if not typing.get_args(annotation) else None
    text = name or str(annotation)
    text = re.sub(r"Optional\[(.*)\]$", r"\1 or None", re.sub(r"(typing|shared)\.([a-z]+\.)*", "", text))
    return text.replace("|", "or").replace("NoneType", "None")


if __name__ == "__main__":
    sys.stdout.write(render())

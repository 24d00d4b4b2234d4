"""What an event says; each kind's own sentence registers itself."""

from functools import singledispatch

from shared.events import Event


@singledispatch
def sentence(event: Event) -> str:
    """Return what an event says, in one sentence without its time and writer."""
    return f"{type(event).__name__} of {event.aggregate} {event.aggregate_id}"

"""What an event is: a frozen, typed fact in the past tense, and the aggregate whose invariant it belongs to."""

from typing import ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact on the log. A subclass names its aggregate, the field that holds the aggregate's id, and the one service
    that may say it.

    `version` rises with every change that a reader must know about; adding a field with a default is none.
    """

    version: ClassVar[int] = 1
    writer: ClassVar[str]
    aggregate: ClassVar[str]
    aggregate_field: ClassVar[str]

    @property
    def aggregate_id(self) -> str:
        """The id of the aggregate this event belongs to."""
        value: str = getattr(self, self.aggregate_field)
        return value

    @property
    def rightful_writer(self) -> str:
        """The writer token under which alone this may be said."""
        return self.writer

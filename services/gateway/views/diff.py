"""What differs between two moments of the log."""

from datetime import datetime

import msgspec

from services.gateway.views.view import View


class Moment(View, frozen=True, kw_only=True):
    """A place on the log: right after the event `seq`, stored at `time`; null before the first one."""

    seq: int
    time: datetime | None


class FieldChange(View, frozen=True, kw_only=True):
    """A field that differs, long text cut."""

    name: str
    before: msgspec.Raw
    after: msgspec.Raw


class Difference(View, frozen=True, kw_only=True):
    """A row that came, went or changed; `seq` is the event that did it last."""

    id: str
    label: str | None
    seq: int
    fields: list[FieldChange]


class DiffPart(View, frozen=True, kw_only=True):
    """What happened to one kind of thing; the lists are bounded, the counts are not."""

    kind: str
    num_came: int
    num_changed: int
    num_went: int
    came: list[Difference]
    changed: list[Difference]
    went: list[Difference]


class Diff(View, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What changed between two moments."""

    from_: Moment
    to: Moment
    parts: list[DiffPart]

"""Cursors: where the next page of a list begins, as text that says nothing to whoever hands it back."""

import base64
from http import HTTPStatus
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from shared.errors import Problem, Rejected

Cursor = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,6000}$", description="next_cursor of the page before")]

Text = Annotated[str, Meta(pattern=r"^[^\x00]*$")]  # of a place: what PostgreSQL can have

PlaceT = TypeVar("PlaceT")


def write(place: object) -> str:
    """Return the cursor of a place in a list."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def read(cursor: str | None, place: type[PlaceT], first: PlaceT) -> PlaceT:
    """Return the place that a cursor means, `first` without one. Raises Rejected (400) for any other text."""
    if cursor is None:
        return first
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=place)
    except (msgspec.MsgspecError, ValueError) as error:
        mistake = Problem("cursor", "is no cursor of this list", "leave it out, or hand on next_cursor as it came")
        raise Rejected("the query has mistakes", (mistake,), status=HTTPStatus.BAD_REQUEST) from error

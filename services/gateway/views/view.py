"""What every answer of the API is."""

from typing import Annotated

import msgspec

#: A JSON object that is passed on as it was stored.
Object = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object", "additionalProperties": True})]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON answer."""

"""What every answer of the API is."""

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON answer."""

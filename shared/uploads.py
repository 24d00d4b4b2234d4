"""An upload to the object store that was begun in parts, as the stores tell of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Parts that are stored, and no object yet."""

    key: str
    upload_id: str

"""Codes that open a browser's login once: so that no password or token need stand in an address."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.gateway.access.people import Principal

LASTS = timedelta(minutes=10)
MAX_CODES = 1_000  # the oldest goes first


@dataclass(slots=True)
class Codes:
    """The codes that were not used yet, oldest first: of this process, and gone with it."""

    known: dict[str, tuple[Principal, datetime]] = field(default_factory=dict)

    def new(self, asking: Principal, now: datetime) -> tuple[str, datetime]:
        """Return a code that speaks for who asks, and until when."""
        if len(self.known) >= MAX_CODES:
            self.known.pop(next(iter(self.known)))
        code, until = secrets.token_urlsafe(16), now + LASTS
        self.known[code] = (asking, until)
        return code, until

    def use(self, code: str, now: datetime) -> Principal | None:
        """Return whom a code speaks for, once; None when it is unknown, used or too old."""
        asking, until = self.known.pop(code, (None, now))
        return asking if until > now else None

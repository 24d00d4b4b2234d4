"""What the tracker is told by its environment."""

import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from services.tracker.seals import Rhythm
from shared import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the log and the database are, and with which key and how often the log is sealed; no key, no seals."""

    nats_url: str
    postgres_url: str
    audit_key: Path | None = None
    rhythm: Rhythm = field(default_factory=Rhythm)

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read TM_NATS_URL, TM_POSTGRES_URL and TM_AUDIT_KEY, _EVENTS, _INTERVAL_S."""
        key = os.environ.get("TM_AUDIT_KEY")
        return cls(
            nats_url=settings.nats_url(),
            postgres_url=settings.postgres_url(),
            audit_key=Path(key) if key else None,
            rhythm=Rhythm(
                max_events=_number("TM_AUDIT_EVENTS", 1_000, highest=50_000),
                max_wait=timedelta(seconds=_number("TM_AUDIT_INTERVAL_S", 60, highest=86_400)),
            ),
        )


def _number(name: str, default: int, *, highest: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= highest:
        raise SystemExit(f"{name} is {text!r}; use a whole number from 1 to {highest:,}")
    return int(text)

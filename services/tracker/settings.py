"""What the tracker is told by its environment."""

from dataclasses import dataclass

from shared import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the log and the database are."""

    nats_url: str
    postgres_url: str

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read TM_NATS_URL and TM_POSTGRES_URL."""
        return cls(nats_url=settings.nats_url(), postgres_url=settings.postgres_url())

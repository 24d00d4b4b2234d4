"""Events of leadership: which instance of a service decides (scheduler, searcher)."""

from typing import ClassVar

from shared.events.event import Event


class LeaderElected(Event, frozen=True, kw_only=True):
    """From here on this process alone decides for its service. Appended under the expectation that nothing of the
    service's came in between, so that of two candidates one wins, and a leader that was away is refused."""

    aggregate: ClassVar[str] = "leader"
    aggregate_field: ClassVar[str] = "service"

    service: str
    instance: str
    incarnation: str
    term: int

    @property
    def rightful_writer(self) -> str:
        """The service that elects."""
        return self.service

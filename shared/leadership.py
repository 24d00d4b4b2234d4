"""Which instance of a service decides. Pure: a fold of LeaderElected, and the rule for standing as a candidate.

Every instance follows the log; only the leader appends. A leader's appends expect that nothing of its service's came in
between, and an election is such an append: of two candidates the broker accepts one, and whatever a former leader
still has in its hands when it wakes up is refused.

An instance stands when there is no leader yet, when the leader was its own former life (it was restarted), or when
the leader has not been heard for LEASE_S.
"""

from dataclasses import dataclass

from shared.events import LeaderElected
from shared.log import Recorded

LEASE_S = 3.0


@dataclass(slots=True, kw_only=True)
class Leadership:
    """One instance's view. `incarnation` is unique to the process, `instance` is its lasting name."""

    service: str
    instance: str
    incarnation: str
    leader: LeaderElected | None = None
    has_led: bool = False

    @property
    def leads(self) -> bool:
        """Whether this process decides, as far as it has read the log."""
        return self.leader is not None and self.leader.incarnation == self.incarnation

    @property
    def term(self) -> int:
        """How often a leader was elected so far."""
        return self.leader.term if self.leader else 0

    def evolve(self, recorded: Recorded) -> None:
        """Fold one event."""
        event = recorded.event
        if isinstance(event, LeaderElected) and event.service == self.service:
            self.leader = event
            self.has_led = self.has_led or self.leads

    def candidacy(self, leader_silent_s: float) -> LeaderElected | None:
        """Return the election that this instance should try to append now, or None."""
        if self.leads:
            return None
        # Once only: two processes of one name must not depose each other in turns.
        is_former_life = self.leader is not None and self.leader.instance == self.instance and not self.has_led
        if self.leader is not None and not is_former_life and leader_silent_s <= LEASE_S:
            return None
        return LeaderElected(
            service=self.service, instance=self.instance, incarnation=self.incarnation, term=self.term + 1
        )

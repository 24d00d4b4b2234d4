"""Priority lanes, 1 the most important and 99 the least; after Determined's priority scheduler, its quirks mended.

Once for trials with slots and once for tasks without, lane by lane:

1. In order of position, everyone who fits takes its place; a small trial may pass a larger one of its own lane.
2. Once anyone waits, only preemptible trials start in the lanes below, and only where preemption is on: backfilling
   never delays a more important trial. With preemption off nobody less important starts.
3. With preemption on, room is made for those who did not fit: less important trials, and in their own lane those of
   jobs positioned behind, are asked to stop until the gang fits; the least important first, of one lane the newest
   first. Whoever did not help in the end stays. If that takes several, and fewer victims from the same lanes would
   empty one agent, those are taken instead. If the gang would not fit anyway, nobody is asked.
4. From then on nobody starts in this pass: what a preemption frees is given out by a later one.
5. A gang that has waited longer than `reserve_after_s` goes first in its lane, and agents are kept for it: whoever
   comes later goes elsewhere. One such gang at a time.

Passed over, and in nobody's way: gangs that the pool's agents could never hold (in Determined they block the
pool), and trials of a job that has reached its max_slots (which Determined's priority scheduler ignores).
"""

from collections.abc import Iterable
from itertools import groupby

from services.scheduler import reasons
from services.scheduler.fitting import Fleet
from services.scheduler.policies.preemption import fewest_victims
from services.scheduler.pool import Placement, Plan, Pool, Quota, Request


def schedule(pool: Pool) -> Plan:
    """Return the plan of one pass."""
    plan, fleet = Plan(), Fleet(pool.machines, pool.policy)
    waiting, running = pool.waiting(), pool.running()
    quota = Quota.of(pool)
    for has_slots in (True, False):
        queue = sorted(
            (request for request in waiting if bool(request.slots) == has_slots),
            key=lambda request: (request.priority, not pool.is_overdue(request), request.order),
        )
        if queue:
            plan.queue += queue
            here = [request for request in running if bool(request.slots) == has_slots]
            walk = _Walk(pool, plan, fleet.copy(), quota, here)
            for _, lane in groupby(queue, key=lambda request: request.priority):
                walk.serve(lane)
    return plan


class _Walk:
    """One walk down the lanes. `fleet` shows what is free now; once room is made, what will be free then."""

    def __init__(self, pool: Pool, plan: Plan, fleet: Fleet, quota: Quota, running: list[Request]) -> None:
        self.pool, self.plan, self.fleet, self.quota = pool, plan, fleet, quota
        self._first: Request | None = None  # the most important one that waits
        self._is_making_room = False
        self._has_reserved = False
        self._stopping = [request for request in running if request.is_stopping]
        self._candidates = [request for request in running if request.preemptible and not request.is_stopping]
        self._candidates.sort(key=lambda request: (request.priority, request.order), reverse=True)
        self._crowded: set[int] = set()  # sizes that do not fit now
        self._hopeless: set[int] = set()  # sizes for which no room can be made in this pass

    def serve(self, lane: Iterable[Request]) -> None:
        """Serve one lane: first those who fit, then make room for the others."""
        waits, unfit = None, []
        for request in lane:
            if self._is_refused(request) or self._start(request):
                continue
            waits = waits or request
            if self.pool.is_overdue(request) and not self._has_reserved:
                self._reserve(request)
            else:
                unfit.append(request)
        for request in unfit:
            if not self._make_room(request):
                self.plan.waiting[request.trial_id] = reasons.no_room(request, self.fleet)
        self._first = self._first or waits

    def _is_refused(self, request: Request) -> bool:
        """Say whether a request cannot use slots now, whoever else waits."""
        if not self.fleet.can_ever_fit(request.slots):
            self.plan.waiting[request.trial_id] = reasons.never_fits(request, self.fleet)
            return True
        if refusal := self.quota.refusal(request):
            self.plan.waiting[request.trial_id] = refusal
            return True
        return False

    def _start(self, request: Request) -> bool:
        """Give a request its place if there is one; say whether there was."""
        placement = None if request.slots in self._crowded else self.fleet.fit(request.slots)
        if placement is None:
            self._remember(self._crowded, request)
            return False
        may_backfill = self.pool.policy.preemption and request.preemptible
        if self._is_making_room:
            self.plan.waiting[request.trial_id] = reasons.awaiting(request)
        elif self._first is not None and not may_backfill:
            self.plan.waiting[request.trial_id] = reasons.no_backfill(request, self._first)
        else:
            self.plan.start(request, placement, self.fleet.roomy(request.slots))
        self._take(request, placement)
        return True

    def _reserve(self, request: Request) -> None:
        """Keep agents for a gang that waited too long, if nobody can be stopped for it."""
        self._has_reserved = True
        if self._make_room(request):
            return
        kept = self.fleet.reservation(request.slots)
        self.plan.waiting[request.trial_id] = reasons.reserved(request, self.fleet, kept)
        self.fleet.hold(kept)

    def _make_room(self, request: Request) -> bool:
        """Plan a place among what is falling free, or have others stop for it; say whether that helps."""
        if request.slots in self._hopeless:
            return False
        after = self.fleet if self._is_making_room else self._after_stops()
        placement, victims = after.fit(request.slots), list[Request]()
        if placement is None and self.pool.policy.preemption:
            victims = fewest_victims(request, self._candidates, after)
            placement = after.fit(request.slots) if victims else None
        if placement is None:
            self._remember(self._hopeless, request)
            return False
        self.fleet, self._is_making_room = after, True
        self._crowded.clear()
        self._take(request, placement)
        self._stop(victims, request)
        return True

    def _after_stops(self) -> Fleet:
        """The fleet once those who were asked to stop have stopped."""
        after = self.fleet.copy()
        for request in self._stopping:
            after.give(request.placement or {})
        return after

    def _stop(self, victims: list[Request], request: Request) -> None:
        asked = {victim.trial_id for victim in victims}
        self.plan.release |= dict.fromkeys(sorted(asked), request.trial_id)
        self._candidates = [victim for victim in self._candidates if victim.trial_id not in asked]
        reason = reasons.making_room(request, sorted(asked)) if asked else reasons.awaiting(request)
        self.plan.waiting[request.trial_id] = reason

    def _take(self, request: Request, placement: Placement) -> None:
        self.fleet.take(placement)
        self.quota.add(request)

    def _remember(self, sizes: set[int], request: Request) -> None:
        """Spare the next request of this size the search. Not where fewer idle agents may fit when more did not, nor
        from one that was served before its turn."""
        if not self.pool.policy.heterogeneous_fits and not self.pool.is_overdue(request):
            sizes.add(request.slots)

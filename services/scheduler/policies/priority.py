"""Priority lanes, 1 the most important and 99 the least; after Determined's priority scheduler, its quirks mended.

Once for trials with slots and once for tasks without, lane by lane:

1. In order of position, everyone who fits takes its place; a small trial may pass a larger one of its own lane.
2. Once anyone waits, only preemptible trials start in the lanes below, and only where preemption is on: backfilling
   never delays a more important trial. With preemption off nobody less important starts.
3. With preemption on, room is made for those who did not fit: less important trials, and in their own lane those of
   jobs positioned behind, are asked to stop until the gang fits. Of all who could be asked, those that reach least far
   up the lanes are; of these the fewest; of these the least important, in one lane the newest first (`reclaim.py`).
   If the gang would not fit anyway, nobody is asked.
4. From then on nobody starts in this pass: what a preemption frees is given out by a later one.
5. A gang that has waited longer than `reserve_after_s` goes first in its lane, and agents are kept for it: whoever
   comes later goes elsewhere. One such gang at a time.

Passed over, and in nobody's way: gangs that the pool's agents could never hold, not even if all of them were idle and
open (in Determined they block the pool), and trials of a job that has reached its max_slots (which Determined's
priority scheduler ignores). A gang that waits for an agent which takes no new work now keeps its place, as in
Determined: whoever less important started in its stead would delay it once the agent is back.
"""

from collections.abc import Iterator

from services.scheduler import reasons
from services.scheduler.books import Books, Quota
from services.scheduler.pool import Asked, Placement, Plan, Request
from services.scheduler.waiting import Passed
from shared.ids import TrialId


def schedule(books: Books, asked: Asked, *, is_plain: bool) -> Plan:
    """Return the plan of one pass."""
    plan, quota = Plan(asked=asked), Quota(books)
    for with_slots in (True, False):
        walk = _Walk(books, plan, quota, with_slots=with_slots, is_plain=is_plain)
        for lane in books.queue.lanes(asked):
            walk.serve(lane)
        books.close()
    plan.queue = books.queue.in_order(asked)
    return plan


class _Walk:
    """One walk down the lanes. `fleet` shows what is free now; once room is made, what will be free then."""

    def __init__(self, books: Books, plan: Plan, quota: Quota, *, with_slots: bool, is_plain: bool) -> None:
        self.books, self.plan, self.quota = books, plan, quota
        self.fleet = books.fleet
        self._with_slots = with_slots
        self._first: Request | None = None  # the most important one that waits
        self._is_making_room = False
        self._has_reserved = False
        self._served: set[TrialId] = set()  # in this lane
        self._crowded = Passed(is_plain=is_plain, but_overdue=True)  # sizes that do not fit now
        self._hopeless = Passed(is_plain=is_plain, lines=self._crowded.lines)  # for which no room can be made, either

    def serve(self, lane: int) -> None:
        """Serve one lane: first those who fit, then make room for the others."""
        if self._first is not None and not self.books.policy.preemption:
            self._tell(lane, self._first)
            return
        self._served.clear()
        waits, goes_on = None, True
        while goes_on:
            found, goes_on = self._place(lane)
            waits = waits or found
        for request in self._walk(lane, self._hopeless):
            if request.trial_id not in self._served and not self._is_refused(request):
                self._make_room(request)
        self._first = self._first or waits

    def _place(self, lane: int) -> tuple[Request | None, bool]:
        """Start who fits; return the first who does not, and whether to look at the lane again.

        That is when room was made for one that is overdue: the others then look at what falls free.
        """
        waits = None
        for request in self._walk(lane, self._crowded):
            if request.trial_id in self._served or self._is_refused(request) or self._start(request):
                continue
            waits = waits or request
            may_reserve = request.is_overdue and not self._has_reserved and self.books.fleet.can_ever_fit(request.slots)
            if may_reserve and self._reserve(request):
                return waits, True
        return waits, False

    def _tell(self, lane: int, first: Request) -> None:
        """Say of a lane in which nobody may start why, as far as somebody asked."""
        self._crowded.everyone = True
        for request in self._walk(lane, self._crowded):
            if not self._is_refused(request):
                if self.fleet.fit(request.slots) is None:
                    self.plan.wait(request, reasons.no_room, self.fleet)
                else:
                    self.plan.wait(request, reasons.no_backfill, first)

    def _walk(self, lane: int, passed: Passed) -> Iterator[Request]:
        return self.books.queue.walk(lane, with_slots=self._with_slots, passed=passed, asked=self.plan.asked)

    def _is_refused(self, request: Request) -> bool:
        """Say whether a request cannot use slots now, whoever else waits."""
        if not self.books.fleet.could_hold(request.slots):
            self.plan.wait(request, reasons.never_fits, self.fleet)
            self._crowded.sizes.add(request.slots)
            self._hopeless.sizes.add(request.slots)
            return True
        if refusal := self.quota.refusal(request):
            self.plan.note(request, refusal)
            self._crowded.lines.add((request.job_id, request.slots))
            return True
        return False

    def _start(self, request: Request) -> bool:
        """Give a request its place if there is one; say whether there was."""
        placement = None if self._crowded.has_size(request.slots) else self.fleet.fit(request.slots)
        if placement is None:
            if self.fleet.stays_unfit(request.slots):
                self._crowded.sizes.add(request.slots)
            return False
        may_backfill = self.books.policy.preemption and request.preemptible
        if self._is_making_room:
            self.plan.wait(request, reasons.awaiting)
        elif self._first is not None and not may_backfill:
            self.plan.wait(request, reasons.no_backfill, self._first)
        else:
            self.plan.start(request, placement, self.fleet.roomy(request.slots))
        self._take(request, placement)
        return True

    def _reserve(self, request: Request) -> bool:
        """Make room for a gang that waited too long; if that cannot be, keep agents for it. Say whether it could."""
        self._has_reserved = True
        self._crowded.but_overdue = False
        if self._make_room(request):
            return True
        self._served.add(request.trial_id)
        kept = self.fleet.reservation(request.slots)
        self.plan.wait(request, reasons.reserved, self.fleet, kept)
        self.books.keep(self.fleet, kept)
        return False

    def _make_room(self, request: Request) -> bool:
        """Plan a place among what is falling free, or have others stop for it; say whether that helps."""
        placement, victims = None, list[Request]()
        if not self._hopeless.has_size(request.slots):
            if not self._is_making_room:
                self.books.look_ahead()
            placement, victims = self._room_for(request)
        if placement is None:
            self.plan.wait(request, reasons.no_room, self.fleet)
            if not request.is_overdue and self.books.reclaim.stays_hopeless(request.slots):  # else before its turn
                self._hopeless.sizes.add(request.slots)
            return False
        self.fleet, self._is_making_room = self.books.after, True
        self._crowded.sizes = set()
        self._take(request, placement)
        self._stop(victims, request)
        return True

    def _room_for(self, request: Request) -> tuple[Placement | None, list[Request]]:
        """Return where a request would go once others have stopped, and who is to be asked for that."""
        placement = self.books.after.fit(request.slots)
        if placement is not None or not self.books.policy.preemption:
            return placement, []
        victims = self.books.reclaim.victims(request)
        if victims:
            self.books.stop(victims)
            placement = self.books.after.fit(request.slots)
            if placement is None:
                self.books.unstop(victims)
        return placement, victims

    def _stop(self, victims: list[Request], request: Request) -> None:
        asked = sorted(victim.trial_id for victim in victims)
        self.plan.release |= dict.fromkeys(asked, request.trial_id)
        if asked:
            self.plan.wait(request, reasons.making_room, asked)
        else:
            self.plan.wait(request, reasons.awaiting)

    def _take(self, request: Request, placement: Placement) -> None:
        self._served.add(request.trial_id)
        self.books.book(self.fleet, placement)
        self.quota.add(request)

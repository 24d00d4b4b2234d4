"""What each job is offered of a pool's slots: progressive filling, in whole gangs. `fair_share.py` has the rules.

Every job has a say in this, so it is done for each of them after each event: loops over all jobs are few and short.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heapreplace
from operator import attrgetter

from services.scheduler.jobs import Job
from services.scheduler.pool import Request
from services.scheduler.waiting import Passed
from shared.events import Share
from shared.ids import ExperimentId

MANY = 64  # for so many it is cheaper to sort than to insert one by one
WEIGHT_UNIT = 1e-6  # weights are counted in these, so that sums of them are exact in any order


#: A job's trials with slots in order, without those passed over by then.
Walk = Callable[[Passed], Iterable[Request]]


class Claim:
    """A job's demand, and what it is offered.

    `waiting` counts its trials that do not go on, by size, as far as they count: those that wait, and those that were
    asked to stop, which will. Were those left out, their slots would be offered to others and asked for again.
    """

    __slots__ = (
        "demand",
        "firm",
        "held",
        "is_closed",
        "is_noted",
        "job",
        "offered",
        "order",
        "place",
        "size",
        "waiting",
        "walk",
        "weight",
    )

    def __init__(self, job: Job, waiting: dict[int, int], firm: int, walk: Walk) -> None:
        self.job, self.waiting, self.walk = job, waiting, walk
        self.weight = round(job.terms.weight / WEIGHT_UNIT)
        self.place = (job.terms.position, job.job_id)
        self.held = job.held - job.num_stopping
        self.firm = firm  # offered beforehand
        self.begin()
        limit, wanted = job.terms.max_slots, self.held
        for request in job.stopping.values():
            waiting[request.slots] = waiting.get(request.slots, 0) + 1
        for size, count in waiting.items():
            wanted += size * count
        sizes = job.going.keys() | waiting.keys()
        self.size = next(iter(sizes)) if len(sizes) == 1 else None  # of all its trials
        self.demand = max(firm, wanted if limit is None else min(wanted, limit))
        self.order = (self.demand, self.place)

    def begin(self) -> None:
        """Forget what was offered; what is offered beforehand is."""
        self.offered = self.firm
        self.is_closed = False  # it asks for no more
        self.is_noted = False  # among those whose offer may be useless

    @property
    def share(self) -> Share:
        """How it fares, in plain numbers."""
        job_id, demand = self.job.job_id, self.demand
        weight = self.job.terms.weight
        return Share(experiment_id=job_id, weight=weight, offered=self.offered, held=self.held, demand=demand)

    def running(self) -> list[Request]:
        """Return its trials with slots that are to go on, in order."""
        running = (request for request in self.job.running.values() if request.slots and not request.is_stopping)
        return sorted(running, key=lambda request: request.order)

    def usable(self, offered: int) -> int:
        """Return how much of an offer whole gangs can use: those that run first, then those that wait, in order."""
        if self.size is not None:
            most = self.held + self.size * self.waiting.get(self.size, 0)
            used = min(most, offered // self.size * self.size)
        elif self.held <= offered:
            used = self._greedy(self.held, offered)
        else:
            used = 0
            for request in self.running():
                used += request.slots if used + request.slots <= offered else 0
            used = self._greedy(used, offered)
        return max(used, self.firm)

    def _greedy(self, used: int, offered: int) -> int:
        passed, left = Passed(), dict(self.waiting)
        for request in sorted(self.job.stopping.values(), key=lambda request: request.order):
            used += request.slots if used + request.slots <= offered else 0
            left[request.slots] -= 1
        for request in self.walk(passed):
            if left.get(request.slots, 0) and used + request.slots <= offered:
                used += request.slots
                left[request.slots] -= 1
            else:
                passed.sizes.add(request.slots)
        return used

    def next_offer(self, left: int) -> int:
        """Return the offer with which it could use one more gang, if at most `left` more are needed; else the same."""
        sizes = set(self.waiting)
        if self.offered < self.held:
            sizes |= {request.slots for request in self.running()}
        for size in sorted(sizes):
            if size <= min(left, self.demand - self.offered) and self.usable(self.offered + size) > self.offered:
                return self.usable(self.offered + size)
        return self.offered


#: The order in which offers are made.
in_order = attrgetter("order")


def fill(claims: Sequence[Claim], capacity: int) -> None:
    """Make the offers to claims that come `in_order`."""
    for claim in claims:
        claim.begin()
    filling = _Filling(claims, capacity - sum([claim.firm for claim in claims]))
    filling.close_the_latest(filling.go_round())
    filling.cut()
    filling.go_by_gang()


class _Filling:
    """What is left to offer, and who wants more."""

    def __init__(self, claims: Iterable[Claim], left: int) -> None:
        self._left = left
        self._hungry = [claim for claim in claims if claim.demand > claim.firm]
        self._wanting = self._hungry.copy()  # and perhaps some who were closed
        weights = [claim.weight for claim in self._hungry]
        self._weight = sum(weights)  # of those who want more
        self._heaviest = max(weights, default=0)
        self._num_wanting = len(self._hungry)
        self._useless: list[tuple[tuple[float, ExperimentId], Claim]] = []

    def go_round(self) -> list[Claim]:
        """Offer slots in rounds until none are left or nobody wants more; return whose offer may now be useless."""
        too_small: list[Claim] = []
        while self._left > 0 and self._num_wanting:
            weight, left, num_met, num_full = self._weight, self._left, 0, 0
            at_start = left
            is_one_each = at_start * self._heaviest < 2 * weight  # as floor(at_start * w / weight) is 1 at most
            for claim in self._wanting:
                num_met += 1
                if claim.is_closed:
                    num_full += 1
                    continue
                offer = 1
                if not is_one_each:
                    part = at_start * claim.weight // weight if weight else 0
                    offer = min(max(1, part), left, claim.demand - claim.offered)
                offered = claim.offered = claim.offered + offer
                left -= offer
                if not claim.is_noted and (claim.size is None or offered < claim.size):
                    too_small.append(claim)
                if offered >= claim.demand:
                    num_full += 1
                    self._leave(claim)
                if left == 0:
                    break
            self._left = left
            if num_full:
                met = self._wanting[:num_met]
                self._wanting[:num_met] = [c for c in met if c.offered < c.demand and not c.is_closed]
        return too_small

    def _leave(self, claim: Claim) -> None:
        self._weight -= claim.weight
        self._num_wanting -= 1

    def close_the_latest(self, too_small: list[Claim]) -> None:
        """Take back offers that are too small for any gang, the latest first, and go on filling."""
        self._note_useless(too_small)
        while self._useless:
            _, latest = self._useless.pop()
            latest.is_noted = False
            if not latest.is_closed and _is_useless(latest):
                if latest.offered < latest.demand:
                    self._leave(latest)
                self._left += latest.offered
                latest.offered, latest.is_closed = 0, True
                self._note_useless(self.go_round())

    def _note_useless(self, claims: list[Claim]) -> None:
        found = []
        for claim in claims:
            if not claim.is_noted and _is_useless(claim):
                claim.is_noted = True
                found.append((claim.place, claim))
        if len(found) > MANY:
            self._useless = sorted([*self._useless, *found], key=_place)
        else:
            for entry in found:
                insort(self._useless, entry, key=_place)

    def cut(self) -> None:
        """Take back what no whole gang can use of an offer."""
        for claim in self._hungry:
            if claim.size is None or claim.offered % claim.size:
                usable = claim.usable(claim.offered)
                self._left += claim.offered - usable
                claim.offered = usable

    def go_by_gang(self) -> None:
        """Offer what is left, gang by gang, to the one that has least for its weight."""
        if self._left <= 0:
            return
        poorest = [
            (_wealth(claim), claim.place, claim)
            for claim in self._hungry
            if claim.offered < claim.demand and (claim.size is None or claim.size <= self._left)
        ]
        heapify(poorest)
        while self._left > 0 and poorest:
            claim = poorest[0][2]
            offer = claim.next_offer(self._left)
            if offer == claim.offered:
                heappop(poorest)
                continue
            self._left -= offer - claim.offered
            claim.offered = offer
            heapreplace(poorest, (_wealth(claim), claim.place, claim))


def _is_useless(claim: Claim) -> bool:
    if claim.size is not None:
        return 0 < claim.offered < claim.size and not claim.firm
    return claim.offered > 0 and claim.usable(claim.offered) == 0


def _place(entry: tuple[tuple[float, ExperimentId], Claim]) -> tuple[float, ExperimentId]:
    return entry[0]


def _wealth(claim: Claim) -> float:
    return claim.offered / claim.weight if claim.weight else float("inf")

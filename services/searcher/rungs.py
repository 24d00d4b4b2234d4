"""The rungs of asynchronous successive halving: who stands where, who goes on, who is dropped.

Theory: L. Li, K. Jamieson, A. Rostamizadeh, E. Gonina, M. Hardt, B. Recht, A. Talwalkar, A System for Massively
Parallel Hyperparameter Tuning, 2018, arXiv 1810.05934. Its symbols: `eta` is `divisor`, `R` the units of a bracket's
last rung, `r` those of its first, `s` what makes brackets differ in their number of rungs, `n` a bracket's
`num_trials`; `k` counts rungs.

A trial that has trained as far as its rung is entered there with its cost and judged at once, in the order of the log
and never again, so that the same history gives the same judgements whenever somebody asks for them:

* TIME, STOP_ONCE: it goes on if it is among the best max(1, ⌊n/divisor⌋) of the n entered so far, itself included; else
  it is dropped. It stands before its equals. TIME goes by what a trial reports while it runs; one late report may carry
  it over several rungs. STOP_ONCE goes by targets: the trial ends at each, and is extended.
* PROMOTE, the paper's algorithm 2: it parks. Whoever then is among the best ⌊n/divisor⌋ and was not promoted yet is
  promoted, be it this trial or one that parked before; an entry that is outrun later keeps what it was given. A trial
  stands behind its equals. Once a rung can have no more entries, the trials still parked there are dropped.

A trial that fails for good is entered with the worst cost, so that no rung waits for it; where PROMOTE would promote
it, it is entered at the next rung in the same way. One that does not count, or is gone without having failed, is
missing there instead: the rung has one entry less to wait for. How many trials a bracket has, and how many train at a
time, may change on the way: its ladder stays as it was laid out; rungs that can have entries again are judged again.
Deviation from the paper: max(1, …) in the stopping rules, as Determined has it. Nothing here knows events, ids or time.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_plan
from enum import StrEnum
from operator import itemgetter

import msgspec
from msgspec.structs import replace

from services.searcher.method import BracketPlan


class Rule(StrEnum):
    """How the search tells a trial how far to train."""

    TIME = "time"
    STOP_ONCE = "stop once"
    PROMOTE = "promote"


class Status(StrEnum):
    """What a trial at a rung is doing."""

    RUNNING = "running"  # towards its rung
    ARRIVED = "arrived"  # at its rung, where it is judged when it is known by what
    PARKED = "parked"  # at its rung, and may be promoted
    PROMOTED = "promoted"  # towards its rung, but was not told yet
    DROPPED = "dropped"  # judged for the last time


class Leaving(StrEnum):
    """How a trial that is closed on its way to a rung counts there."""

    DONE = "done"  # not at all: it was judged, or the search is over
    WORST = "worst"
    MISSING = "missing"  # the rung does not wait for it


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a judgement at `rung` went by: the trial's place among those entered, from 0, and how many of them go on.
    `threshold` is the cost of the last of those, None where there is none."""

    rung: int
    place: int
    num_entered: int
    num_kept: int
    cost: float
    threshold: float | None


class Standing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where an open trial stands; rungs are counted from 0. `reason` and `seq` say what put it there, `verdict` the
    newest judgement of it."""

    bracket: int
    rung: int
    status: Status
    reason: str = ""
    seq: int = 0
    verdict: Verdict | None = None


@dataclass(slots=True, kw_only=True)
class Rung:
    """The trials that came as far as this: costs and indices, best first; and which of them were promoted.

    `num_missing` were to come, and left without counting.
    """

    entries: list[tuple[float, int]] = field(default_factory=list)
    promoted: set[int] = field(default_factory=set)
    num_missing: int = 0


@dataclass(slots=True, kw_only=True)
class Bracket:
    """One ladder of rungs with a share of the search's trials and of its concurrency."""

    plan: BracketPlan
    rungs: list[Rung]
    num_entered: int = 0
    num_active: int = 0  # that train or are to train
    num_settled: int = 0  # rungs that can have no more entries


@dataclass(slots=True, kw_only=True)
class Tournament:
    """All brackets of a search. `pending` are the trials that something must be told or decided about."""

    rule: Rule
    divisor: float
    brackets: list[Bracket]
    standings: dict[int, Standing] = field(default_factory=dict)
    pending: dict[int, None] = field(default_factory=dict)

    @property
    def is_overfull(self) -> bool:
        """Whether more trials have entered a bracket than it was to have."""
        return any(bracket.num_entered > bracket.plan.num_trials for bracket in self.brackets)

    def vacancies(self, at_most: int) -> list[int]:
        """Return the brackets of the trials that may be requested now, in order.

        A bracket that has more than its share, because that was lowered, holds the others up.
        """
        found: list[int] = []
        at_most = min(at_most, sum(bracket.plan.num_concurrent - bracket.num_active for bracket in self.brackets))
        for number, bracket in enumerate(self.brackets):
            room = bracket.plan.num_concurrent - bracket.num_active
            left = bracket.plan.num_trials - bracket.num_entered
            found += [number] * max(0, min(room, left, at_most - len(found)))
        return found

    def units(self, standing: Standing) -> int:
        """Return how far a trial trains for its rung."""
        return self.brackets[standing.bracket].plan.units[standing.rung]

    def is_last(self, standing: Standing) -> bool:
        """Say whether there is no rung above a trial's."""
        return standing.rung == len(self.brackets[standing.bracket].rungs) - 1

    def is_active(self, standing: Standing) -> bool:
        """Say whether a trial trains or is to train; a dropped one does where it is stopped while it runs."""
        if standing.status is Status.DROPPED:
            return self.rule is Rule.TIME
        return standing.status is not Status.PARKED

    def enter(self, index: int, bracket: int) -> None:
        """A trial was requested in a bracket."""
        self.brackets[bracket].num_entered += 1
        self._stand(index, Standing(bracket=bracket, rung=0, status=Status.RUNNING))

    def reach(self, index: int, units: float, cost: float, seq: int) -> None:
        """A trial has trained this far and come to this cost."""
        standing = self.standings[index]
        while standing.status is Status.RUNNING and units >= self.units(standing):
            if self.rule is Rule.PROMOTE:
                self._stand(index, replace(standing, status=Status.PARKED, seq=seq))
                self._enter_and_promote(index, standing.bracket, standing.rung, cost, seq)
                self._settle(self.brackets[standing.bracket], seq)
            else:
                self._stand(index, self._judged(index, standing, cost, seq))
            standing = self.standings[index]

    def hold(self, index: int, seq: int) -> None:
        """A trial has come to its rung, and keeps its place until it is judged."""
        self._stand(index, replace(self.standings[index], status=Status.ARRIVED, seq=seq))

    def judge(self, index: int, cost: float, seq: int, others: Mapping[int, float]) -> None:
        """It is known by which cost a trial is judged that was held at its rung, and what others count from now on that
        came there before."""
        standing = self.standings[index]
        rung = self.brackets[standing.bracket].rungs[standing.rung]
        rung.entries.sort(key=lambda entry: others.get(entry[1], entry[0]))
        rung.entries[:] = [(others.get(number, before), number) for before, number in rung.entries]
        self._stand(index, replace(standing, status=Status.RUNNING))
        self.reach(index, self.units(standing), cost, seq)

    def contenders(self, index: int, at_most: int) -> list[int]:
        """Return the best of those that came to the rung of a trial before it and have a cost there."""
        standing = self.standings[index]
        entries = self.brackets[standing.bracket].rungs[standing.rung].entries
        return [number for cost, number in entries[:at_most] if not math.isinf(cost)]

    def extend(self, index: int) -> None:
        """A trial was told of its promotion."""
        if standing := self.standings.get(index):
            self._stand(index, replace(standing, status=Status.RUNNING))

    def leave(self, index: int, seq: int, leaving: Leaving = Leaving.DONE) -> None:
        """A trial is closed."""
        standing = self.standings.pop(index, None)
        self.pending.pop(index, None)
        if standing is None:
            return
        bracket = self.brackets[standing.bracket]
        rung = bracket.rungs[standing.rung]
        bracket.num_active -= self.is_active(standing)
        is_on_its_way = standing.status in (Status.RUNNING, Status.ARRIVED, Status.PROMOTED)
        if leaving is Leaving.MISSING and is_on_its_way:
            rung.num_missing += 1
            self._settle(bracket, seq)
        elif leaving is Leaving.WORST and is_on_its_way and self.rule is Rule.PROMOTE:
            self._enter_and_promote(index, standing.bracket, standing.rung, math.inf, seq)
            self._settle(bracket, seq)
        elif leaving is Leaving.WORST and is_on_its_way:
            rung.entries.append((math.inf, index))

    def resize(self, sizes: Sequence[tuple[int, int]], seq: int) -> None:
        """Give each bracket another number of trials, no less than have entered, and of trials at a time."""
        for bracket, (num_trials, num_concurrent) in zip(self.brackets, sizes, strict=True):
            bracket.plan = replace_plan(bracket.plan, num_trials=num_trials, num_concurrent=num_concurrent)
            bracket.num_settled = 0
            self._settle(bracket, seq)

    def _judged(self, index: int, standing: Standing, cost: float, seq: int) -> Standing:
        rungs = self.brackets[standing.bracket].rungs
        entries = rungs[standing.rung].entries
        place = bisect_left(entries, cost, key=itemgetter(0))
        entries.insert(place, (cost, index))
        num_kept = max(1, int(len(entries) / self.divisor))
        standing = replace(
            standing, verdict=_verdict(standing.rung, entries, place, num_kept, _worst(entries, num_kept))
        )
        if standing.rung == len(rungs) - 1:
            return replace(standing, status=Status.DROPPED, reason=self._at_the_top(standing), seq=seq)
        if place >= num_kept:
            reason = f"{self._stopped(standing)}: place {place + 1} of {len(entries)} so far, {num_kept} went on"
            return replace(standing, status=Status.DROPPED, reason=reason, seq=seq)
        rungs[standing.rung].promoted.add(index)
        status = Status.RUNNING if self.rule is Rule.TIME else Status.PROMOTED
        reason = f"place {place + 1} of {len(entries)} so far at rung {standing.rung + 1}"
        return replace(standing, rung=standing.rung + 1, status=status, reason=reason, seq=seq)

    def _enter_and_promote(self, index: int, number: int, level: int, cost: float, seq: int) -> None:
        rungs = self.brackets[number].rungs
        entries, promoted = rungs[level].entries, rungs[level].promoted
        num_before = int(len(entries) / self.divisor)
        place = bisect_right(entries, cost, key=itemgetter(0))
        entries.insert(place, (cost, index))
        num_kept = int(len(entries) / self.divisor)
        if level == len(rungs) - 1:
            if standing := self.standings.get(index):
                reason = self._at_the_top(standing)
                verdict = _verdict(level, entries, place, num_kept, _worst(entries, num_kept))
                self._stand(index, replace(standing, status=Status.DROPPED, reason=reason, seq=seq, verdict=verdict))
            return
        if place >= num_kept:
            if num_kept == num_before:
                return
            place = num_before
            index = entries[place][1]
        if index in promoted:
            return
        promoted.add(index)
        if standing := self.standings.get(index):
            reason = f"place {place + 1} of {len(entries)} so far at rung {level + 1}"
            promotion = replace(standing, rung=level + 1, status=Status.PROMOTED, reason=reason, seq=seq)
            verdict = _verdict(level, entries, place, num_kept, _worst(entries, num_kept))
            self._stand(index, replace(promotion, verdict=verdict))
        elif math.isinf(entries[place][0]):  # it failed, and would again
            self._enter_and_promote(index, number, level + 1, math.inf, seq)
        else:
            rungs[level + 1].num_missing += 1

    def _settle(self, bracket: Bracket, seq: int) -> None:
        """Where trials park, drop those at rungs that can have no more entries."""
        expected = bracket.plan.num_trials
        for level, rung in enumerate(bracket.rungs if self.rule is Rule.PROMOTE else ()):
            if len(rung.entries) + rung.num_missing < expected:
                return
            expected = len(rung.promoted)
            if level < bracket.num_settled:
                continue
            bracket.num_settled = level + 1
            threshold = max((cost for cost, index in rung.entries if index in rung.promoted), default=None)
            for place, (_, index) in enumerate(rung.entries):
                standing = self.standings.get(index)
                if standing and standing.rung == level and standing.status is Status.PARKED:
                    reason = f"{self._stopped(standing)}: place {place + 1} of {len(rung.entries)}, {expected} went on"
                    verdict = _verdict(level, rung.entries, place, expected, threshold)
                    self._stand(
                        index, replace(standing, status=Status.DROPPED, reason=reason, seq=seq, verdict=verdict)
                    )

    def _stand(self, index: int, standing: Standing) -> None:
        before = self.standings.get(index)
        self.standings[index] = standing
        was_active = before is not None and self.is_active(before)
        self.brackets[standing.bracket].num_active += self.is_active(standing) - was_active
        if standing.status in (Status.PROMOTED, Status.DROPPED):
            self.pending[index] = None
        else:
            self.pending.pop(index, None)

    def _at_the_top(self, standing: Standing) -> str:
        return f"reached the last rung, {self.units(standing)} units"

    def _stopped(self, standing: Standing) -> str:
        num_rungs = len(self.brackets[standing.bracket].rungs)
        return f"stopped at rung {standing.rung + 1} of {num_rungs}, {self.units(standing)} units"


def _worst(entries: list[tuple[float, int]], num_kept: int) -> float | None:
    """Return the cost of the last of the best so many; None of none."""
    return entries[num_kept - 1][0] if num_kept else None


def _verdict(
    rung: int, entries: list[tuple[float, int]], place: int, num_kept: int, threshold: float | None
) -> Verdict:
    """Return a judgement; `threshold` is the cost of the last of those who go on."""
    return Verdict(
        rung=rung,
        place=place,
        num_entered=len(entries),
        num_kept=num_kept,
        cost=entries[place][0],
        threshold=threshold,
    )


def tournament(rule: Rule, divisor: float, plans: tuple[BracketPlan, ...]) -> Tournament:
    """Return a tournament that has not begun."""
    brackets = [Bracket(plan=plan, rungs=[Rung() for _ in plan.units]) for plan in plans]
    return Tournament(rule=rule, divisor=divisor, brackets=brackets)


def check_tournament(played: Tournament) -> None:
    """Assert what must hold after every event; for tests."""
    for number, bracket in enumerate(played.brackets):
        standings = [standing for standing in played.standings.values() if standing.bracket == number]
        assert bracket.num_active == sum(map(played.is_active, standings))
        assert bracket.num_entered <= bracket.plan.num_trials
        for rung, above in zip(bracket.rungs, [*bracket.rungs[1:], Rung()], strict=True):
            costs = [cost for cost, _ in rung.entries]
            assert costs == sorted(costs), "a rung is out of order"
            indices = {index for _, index in rung.entries}
            assert len(indices) == len(costs), "a trial stands twice on a rung"
            assert rung.promoted <= indices
            assert {index for _, index in above.entries} <= rung.promoted
    undecided = {i for i, s in played.standings.items() if s.status in (Status.PROMOTED, Status.DROPPED)}
    assert set(played.pending) == undecided

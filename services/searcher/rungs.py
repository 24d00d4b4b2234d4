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

A rung that takes no more units than the one before is reached with that: who passes the one stands at the other by the
same cost. Where costs change on the way (predictions), several may be promoted at a time: each goes on when there is
room for one more that trains.

A trial that fails for good is entered with the worst cost, so that no rung waits for it; where PROMOTE would promote
it, it is entered at the next rung in the same way. One that does not count, or is gone without having failed, is
missing there instead: the rung has one entry less to wait for. One that is ended while it is parked counts like one
that failed, or not at all, and no more by its cost. How many trials a bracket has, and how many train at a time, may
change on the way: its ladder stays as it was laid out; rungs that can have entries again are judged again. Who was
dropped there does not return: it counts among the n, and has no place among the best.
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
from services.searcher.rung import Rung, Verdict


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


ON_THEIR_WAY = (Status.RUNNING, Status.ARRIVED, Status.PROMOTED)


class Leaving(StrEnum):
    """How a trial that is closed on its way to a rung counts there."""

    DONE = "done"  # not at all: it was judged, or the search is over
    WORST = "worst"
    MISSING = "missing"  # the rung does not wait for it


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

    def due(self) -> list[int]:
        """Return the trials that are to be told what was decided about them, in order.

        Who was promoted waits until fewer train in its bracket than may at a time.
        """
        found: list[int] = []
        room = [bracket.plan.num_concurrent - bracket.num_active for bracket in self.brackets]
        pending = [(index, self.standings[index]) for index in self.pending]
        for _, standing in pending:
            room[standing.bracket] += standing.status is Status.PROMOTED
        for index, standing in pending:
            is_promoted = standing.status is Status.PROMOTED
            if not is_promoted or room[standing.bracket] > 0:
                room[standing.bracket] -= is_promoted
                found.append(index)
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
                self._park(index, cost, seq)
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
        if self.rule is Rule.PROMOTE:
            self._park(index, cost, seq, is_sorted_anew=True)
            return
        self._stand(index, replace(standing, status=Status.RUNNING))
        self.reach(index, self.units(standing), cost, seq)

    def has_parked(self, index: int) -> bool:
        """Say whether an open trial has come to its first rung, where trials park."""
        standing = self.standings[index]
        return self.rule is Rule.PROMOTE and (standing.rung > 0 or standing.status is not Status.RUNNING)

    def contenders(self, index: int, at_most: int) -> list[int]:
        """Return the best of those that came to the rung of a trial before it and have a cost there."""
        standing = self.standings[index]
        entries = self.brackets[standing.bracket].rungs[standing.rung].entries
        return [number for cost, number in entries[:at_most] if not math.isinf(cost)]

    def extend(self, index: int) -> None:
        """A trial was told of its promotion."""
        standing = self.standings.get(index)
        if standing and standing.status is Status.PROMOTED:
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
        if standing.status is Status.PARKED and leaving is not Leaving.DONE:
            rung.withdraw(index)
        elif standing.status not in ON_THEIR_WAY:
            return
        if leaving is not Leaving.WORST:
            rung.num_missing += 1
        elif self.rule is Rule.PROMOTE:
            self._enter_and_promote(index, standing.bracket, standing.rung, math.inf, seq)
        else:
            rung.entries.append((math.inf, index))
        self._settle(bracket, seq)

    def resize(self, sizes: Sequence[tuple[int, int]], seq: int) -> None:
        """Give each bracket another number of trials, no less than have entered, and of trials at a time."""
        for bracket, (num_trials, num_concurrent) in zip(self.brackets, sizes, strict=True):
            for rung in bracket.rungs[:-1][: bracket.num_settled]:
                rung.clear()
            bracket.plan = replace_plan(bracket.plan, num_trials=num_trials, num_concurrent=num_concurrent)
            bracket.num_settled = 0
            self._settle(bracket, seq)

    def _judged(self, index: int, standing: Standing, cost: float, seq: int) -> Standing:
        rungs = self.brackets[standing.bracket].rungs
        rung = rungs[standing.rung]
        place = bisect_left(rung.entries, cost, key=itemgetter(0))
        rung.entries.insert(place, (cost, index))
        num_kept = max(1, rung.num_kept(self.divisor))
        standing = replace(standing, verdict=rung.verdict(standing.rung, place, num_kept))
        if standing.rung == len(rungs) - 1:
            return replace(standing, status=Status.DROPPED, reason=self._at_the_top(standing), seq=seq)
        if place >= num_kept:
            reason = f"{self._stopped(standing)}: place {place + 1} of {rung.num_entered} so far, {num_kept} went on"
            return replace(standing, status=Status.DROPPED, reason=reason, seq=seq)
        rung.promoted.add(index)
        is_running = self.rule is Rule.TIME or self._is_there(standing)
        status = Status.RUNNING if is_running else Status.PROMOTED
        reason = f"place {place + 1} of {rung.num_entered} so far at rung {standing.rung + 1}"
        return replace(standing, rung=standing.rung + 1, status=status, reason=reason, seq=seq)

    def _park(self, index: int, cost: float, seq: int, *, is_sorted_anew: bool = False) -> None:
        standing = self.standings[index]
        self._stand(index, replace(standing, status=Status.PARKED, seq=seq))
        self._enter_and_promote(index, standing.bracket, standing.rung, cost, seq, is_sorted_anew=is_sorted_anew)
        self._settle(self.brackets[standing.bracket], seq)

    def _enter_and_promote(
        self, index: int, number: int, level: int, cost: float, seq: int, *, is_sorted_anew: bool = False
    ) -> None:
        """Enter a trial, and promote who is due then: at most one, unless the others have other costs than before."""
        rungs = self.brackets[number].rungs
        rung = rungs[level]
        num_before = rung.num_kept(self.divisor)
        place = bisect_right(rung.entries, cost, key=itemgetter(0))
        rung.entries.insert(place, (cost, index))
        num_kept = rung.num_kept(self.divisor)
        if level == len(rungs) - 1:
            if standing := self.standings.get(index):
                reason = self._at_the_top(standing)
                verdict = rung.verdict(level, place, num_kept)
                self._stand(index, replace(standing, status=Status.DROPPED, reason=reason, seq=seq, verdict=verdict))
            return
        if is_sorted_anew:
            places = range(num_kept)
        elif place < num_kept:
            places = range(place, place + 1)
        else:
            places = range(num_before, num_kept)
        for place in places:
            if rung.entries[place][1] not in rung.promoted:
                self._promote(number, level, place, num_kept, seq)

    def _promote(self, number: int, level: int, place: int, num_kept: int, seq: int) -> None:
        above, rung = self.brackets[number].rungs[level + 1], self.brackets[number].rungs[level]
        cost, index = rung.entries[place]
        rung.promoted.add(index)
        if standing := self.standings.get(index):
            status = Status.PARKED if self._is_there(standing) else Status.PROMOTED
            reason = f"place {place + 1} of {rung.num_entered} so far at rung {level + 1}"
            promotion = replace(standing, rung=level + 1, status=status, reason=reason, seq=seq)
            verdict = rung.verdict(level, place, num_kept)
            self._stand(index, replace(promotion, verdict=verdict))
            if status is Status.PROMOTED:
                return
        elif not math.isinf(cost):
            above.num_missing += 1
            return
        self._enter_and_promote(index, number, level + 1, cost, seq)  # as it failed, it would again

    def _is_there(self, standing: Standing) -> bool:
        """Say whether the rung above a trial's takes no more units."""
        units = self.brackets[standing.bracket].plan.units
        return units[standing.rung + 1] == units[standing.rung]

    def _settle(self, bracket: Bracket, seq: int) -> None:
        """Where trials park, drop those at rungs that can have no more entries."""
        expected = bracket.plan.num_trials
        for level, rung in enumerate(bracket.rungs if self.rule is Rule.PROMOTE else ()):
            if rung.num_entered + rung.num_missing < expected:
                return
            expected = len(rung.promoted)
            if level < bracket.num_settled:
                continue
            bracket.num_settled = level + 1
            threshold = max((cost for cost, index in rung.entries if index in rung.promoted), default=None)
            for place, (_, index) in enumerate(rung.entries):
                standing = self.standings.get(index)
                if standing and standing.rung == level and standing.status is Status.PARKED:
                    reason = f"{self._stopped(standing)}: place {place + 1} of {rung.num_entered}, {expected} went on"
                    verdict = replace(rung.verdict(level, place, expected), threshold=threshold)
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
            if played.rule is Rule.PROMOTE and rung is not bracket.rungs[-1]:
                best = rung.entries[: rung.num_kept(played.divisor)]
                assert {index for _, index in best} <= rung.promoted, "one of the best was not promoted"
        _check_waiting(played, number)
    undecided = {i for i, s in played.standings.items() if s.status in (Status.PROMOTED, Status.DROPPED)}
    assert set(played.pending) == undecided


def _check_waiting(played: Tournament, number: int) -> None:
    """Assert that a rung waits for those that are on their way to it, and for nobody else."""
    bracket = played.brackets[number]
    num_to_come = bracket.num_entered
    for level, rung in enumerate(bracket.rungs if played.rule is Rule.PROMOTE else ()):
        standings = [one for one in played.standings.values() if (one.bracket, one.rung) == (number, level)]
        on_their_way = sum(one.status in ON_THEIR_WAY for one in standings)
        assert rung.num_entered + rung.num_missing + on_their_way == num_to_come, "a rung waits for nobody"
        num_to_come = len(rung.promoted)

"""The queue of a pool, kept in order as trials come and go, and walked shape by shape.

Trials of one job that ask for the same are alike: they form a line. Lines of equal size stand in their lane by their
first trial. Whoever walks a lane meets its trials in order, and may say on the way that nobody else of a size, or of a
line, can use anything in this pass: those are passed over. So a pass costs what can happen in it, not what waits.
That is a short cut and nothing more: a plain walk meets everyone and must come to the same end (tests hold it to that).

Order in a lane: overdue trials first, then by (position of the job, number of the trial, id).
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count

from services.scheduler.jobs import Job
from services.scheduler.pool import Asked, Request
from shared.ids import ExperimentId, TrialId

#: (0 if overdue else 1, position of the job, number of the trial, trial)
Order = tuple[int, float, int, TrialId]
#: What makes trials alike: job, slots, whether they may be preempted, 0 if overdue else 1.
Shape = tuple[ExperimentId, int, bool, int]

ONE_LANE = 0  # where priorities do not count
MANY = 64  # lines that are filed at once: sorting is cheaper than inserting one by one


class Line:
    """The waiting trials of one shape, by number."""

    __slots__ = ("filed", "job", "lane", "preemptible", "rank", "slots", "trials")

    def __init__(self, job: Job, slots: int, rank: int, *, preemptible: bool) -> None:
        self.job, self.slots, self.preemptible, self.rank = job, slots, preemptible, rank
        self.trials: list[tuple[int, TrialId]] = []
        self.lane = 0
        self.filed: Order | None = None  # under which order it stands in its lane; None: in none

    def order(self, index: int = 0) -> Order:
        """The order of one of its trials."""
        return (self.rank, self.job.terms.position, *self.trials[index])

    def request(self, index: int) -> Request:
        """One of its trials as a policy sees it."""
        number, trial_id = self.trials[index]
        return self.job.request(trial_id, self.slots, number, preemptible=self.preemptible, is_overdue=not self.rank)


@dataclass(slots=True)
class Passed:
    """Whom a walk need not meet any more: sizes, and lines by (job, size). A plain walk meets everyone.

    With `but_overdue`, lines of overdue trials are not passed over for their size.
    """

    is_plain: bool = False
    everyone: bool = False
    but_overdue: bool = False
    sizes: set[int] = field(default_factory=set)
    lines: set[tuple[ExperimentId, int]] = field(default_factory=set)

    def has_size(self, slots: int) -> bool:
        """Say whether a size is passed over."""
        return slots in self.sizes and not self.is_plain

    def covers_size(self, line: Line) -> bool:
        """Say whether a line, and whatever of its size comes after it, is passed over."""
        if self.is_plain:
            return False
        return self.everyone or (line.slots in self.sizes and not (self.but_overdue and line.rank == 0))

    def covers(self, line: Line) -> bool:
        """Say whether a line is passed over."""
        return self.covers_size(line) or (not self.is_plain and (line.job.job_id, line.slots) in self.lines)


_Head = tuple[Order, Line]


class Queue:
    """The waiting trials of a pool."""

    def __init__(self, *, has_lanes: bool) -> None:
        self._has_lanes = has_lanes  # else all jobs stand in one
        self._lines: dict[Shape, Line] = {}
        self._place: dict[TrialId, tuple[Shape, int]] = {}
        self._lanes: dict[int, dict[int, list[_Head]]] = {}  # by size
        self._of_job: dict[ExperimentId, dict[Shape, Line]] = {}

    def __len__(self) -> int:
        """How many trials wait."""
        return len(self._place)

    def __contains__(self, trial_id: TrialId) -> bool:
        """Say whether a trial waits."""
        return trial_id in self._place

    def add(self, job: Job, trial_id: TrialId, slots: int, number: int, *, preemptible: bool, is_overdue: bool) -> None:
        """Let a trial wait. It is met after the next `file` of its job."""
        shape = (job.job_id, slots, preemptible, 0 if is_overdue else 1)
        line = self._lines.get(shape)
        if line is None:
            line = self._lines[shape] = Line(job, slots, shape[3], preemptible=preemptible)
            self._of_job.setdefault(job.job_id, {})[shape] = line
        self._place[trial_id] = (shape, number)
        job.is_changed = True
        job.waiting[slots] = job.waiting.get(slots, 0) + 1
        entry = (number, trial_id)
        if not line.trials or entry > line.trials[-1]:
            line.trials.append(entry)
        else:
            insort(line.trials, entry)

    def remove(self, trial_id: TrialId) -> ExperimentId:
        """Let a trial wait no more; return its job. Its job must be filed after that."""
        shape, number = self._place.pop(trial_id)
        line = self._lines[shape]
        del line.trials[bisect_left(line.trials, (number, trial_id))]
        line.job.is_changed = True
        line.job.waiting[line.slots] -= 1
        if not line.job.waiting[line.slots]:
            del line.job.waiting[line.slots]
        return shape[0]

    def file(self, job_ids: Collection[ExperimentId]) -> None:
        """Put the lines of jobs where they belong now: by their first trial, in the lane of the job.

        A line whose job may hold no more for its sort stands in no lane.
        """
        moved: list[Line] = []
        for job_id in job_ids:
            lines = self._of_job.get(job_id, {})
            for shape, line in list(lines.items()):
                wanted = line.order() if line.trials and line.job.admits(line.slots) else None
                if wanted != line.filed or self._lane(line) != line.lane:
                    self._unfile(line)
                    line.filed, line.lane = wanted, self._lane(line)
                    if wanted is not None:
                        moved.append(line)
                if not line.trials:
                    del lines[shape], self._lines[shape]
            if not lines:
                self._of_job.pop(job_id, None)
        self._enter(moved)

    def _enter(self, lines: list[Line]) -> None:
        are_many = len(lines) > MANY
        changed: dict[int, list[_Head]] = {}
        for line in lines:
            assert line.filed is not None
            heads = self._lanes.setdefault(line.lane, {}).setdefault(line.slots, [])
            if are_many:
                heads.append((line.filed, line))
                changed[id(heads)] = heads
            else:
                insort(heads, (line.filed, line), key=_order)
        for heads in changed.values():
            heads.sort(key=_order)

    def _unfile(self, line: Line) -> None:
        if line.filed is None:
            return
        lane = self._lanes[line.lane]
        heads = lane[line.slots]
        del heads[bisect_left(heads, line.filed, key=_order)]
        if not heads:
            del lane[line.slots]
            if not lane:
                del self._lanes[line.lane]

    def _lane(self, line: Line) -> int:
        return line.job.terms.priority if self._has_lanes else ONE_LANE

    def lanes(self, asked: Asked) -> list[int]:
        """Return the lanes that a pass must look at, the most important first."""
        if asked is None:
            return sorted({self._lane(line) for line in self._lines.values()})
        return sorted({*self._lanes, *(self._lane(line) for line, _ in self._find(asked))})

    def jobs_of(self, asked: Collection[TrialId]) -> set[ExperimentId]:
        """Return the jobs of those of the trials that wait."""
        return {line.job.job_id for line, _ in self._find(asked)}

    def walk(self, lane: int, *, with_slots: bool, passed: Passed, asked: Asked) -> Iterator[Request]:
        """Yield the trials of a lane in order, without those passed over by then whom nobody asked about."""
        if passed.is_plain or asked is None:
            lines = (line for line in self._lines.values() if self._lane(line) == lane)
            return _merged(_each(lines, with_slots=with_slots), _NOBODY, ())
        sources = [heads for size, heads in self._lanes.get(lane, {}).items() if bool(size) == with_slots]
        also = [
            (line, index)
            for line, index in self._find(asked)
            if self._lane(line) == lane and bool(line.slots) == with_slots
        ]
        return _merged(sources, passed, also)

    def walk_job(self, job_id: ExperimentId, *, passed: Passed, asked: Asked) -> Iterator[Request]:
        """Yield a job's trials with slots in order, without those passed over by then whom nobody asked about."""
        sources = _each(self._of_job.get(job_id, {}).values(), with_slots=True)
        if passed.is_plain or asked is None:
            return _merged(sources, _NOBODY, ())
        also = [(line, i) for line, i in self._find(asked) if line.job.job_id == job_id and line.slots]
        return _merged(sources, passed, also)

    def firsts(self) -> list[TrialId]:
        """Return the first trial of each line."""
        return [line.trials[0][1] for line in self._lines.values() if line.trials]

    def in_order_of(self, turn: Mapping[ExperimentId, int] | None = None) -> list[TrialId]:
        """Return everybody who waits: lane by lane, or by their jobs' turn; last the tasks without slots."""
        last = len(turn or ())
        keyed = [
            (
                not line.slots,
                self._lane(line) if turn is None else turn.get(line.job.job_id, last),
                line.rank,
                line.job.terms.position,
                *trial,
            )
            for line in self._lines.values()
            for trial in line.trials
        ]
        return [trial_id for *_, trial_id in sorted(keyed)]

    def in_order(self, asked: Asked) -> list[Request]:
        """Return who waits, as far as somebody asked: lane by lane, after them the tasks without slots."""
        return [
            request
            for with_slots in (True, False)
            for lane in (self.lanes(asked) if asked is None or asked else ())
            for request in self.walk(lane, with_slots=with_slots, passed=_EVERYONE, asked=asked)
        ]

    def _find(self, asked: Collection[TrialId]) -> Iterator[tuple[Line, int]]:
        for trial_id in asked:
            if place := self._place.get(trial_id):
                shape, number = place
                line = self._lines[shape]
                yield line, bisect_left(line.trials, (number, trial_id))


_NOBODY, _EVERYONE = Passed(is_plain=True), Passed(everyone=True)


def _order(head: _Head) -> Order:
    return head[0]


def _each(lines: Iterable[Line], *, with_slots: bool) -> list[list[_Head]]:
    return [[(line.order(), line)] for line in lines if line.trials and bool(line.slots) == with_slots]


def _merged(sources: list[list[_Head]], passed: Passed, also: Iterable[tuple[Line, int]]) -> Iterator[Request]:
    """Merge sorted lists of lines, looking into a list or a line only as far as it is walked.

    Those in `also` are met in their place in any case.
    """
    serial = count()
    heap: list[tuple[Order, int, Line, int, list[_Head], int]] = [
        (heads[0][0], next(serial), heads[0][1], 0, heads, 0)
        for heads in sources
        if not passed.covers_size(heads[0][1])
    ]
    heap += [(line.order(index), next(serial), line, index, [], 0) for line, index in also]
    heapify(heap)
    met: Order | None = None
    while heap:
        order, _, line, index, heads, place = heappop(heap)
        if heads and index == 0 and place + 1 < len(heads):
            following = heads[place + 1]
            if not passed.covers_size(following[1]):
                heappush(heap, (following[0], next(serial), following[1], 0, heads, place + 1))
        if heads and passed.covers(line):
            continue
        if order != met:
            met = order
            yield line.request(index)
        if heads and index + 1 < len(line.trials) and not passed.covers(line):
            heappush(heap, (line.order(index + 1), next(serial), line, index + 1, heads, place))

"""What could be made free: for each agent, who would have to stop there; kept in order so that the cheapest is found.

The rule (policies/priority.py tells when it is asked): victims are less important than whom they make room for, or in
its lane by a job positioned behind. Of all sets of victims that make room

1. those that reach least far up: the most important lane among the victims is as unimportant as can be,
2. of these the smallest, 3. of these the least important, the newest first.

A gang that one agent can hold is given one agent. Any other is given whole agents of equal size and kind; a gang
that runs across several of them counts as one victim. Where unequal agents may serve a gang, its agents are chosen
as they would be if everybody who may be stopped had stopped, with the least reach that is enough.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import NamedTuple

from services.scheduler.fitting import Fleet
from services.scheduler.pool import Request
from shared.ids import AgentId, TrialId

#: (priority, position of the job, number of the trial, trial): the greatest is stopped first.
Rank = tuple[int, float, int, TrialId]


class _Offer(NamedTuple):
    """Who would have to stop for a size on one agent: in order of importance, so that the greatest offer is best."""

    victims: tuple[Rank, ...]
    agent_id: AgentId


class _Emptied(NamedTuple):
    """An agent whose every occupant may be stopped, by its most important one."""

    priority: int
    position: float
    agent_id: AgentId


class Reclaim:
    """The trials that may be stopped, by agent. `after` is the fleet once those asked already have stopped."""

    def __init__(self, after: Fleet) -> None:
        self._after = after
        self._ranks: dict[TrialId, Rank] = {}
        self._requests: dict[TrialId, Request] = {}
        self._here: dict[AgentId, dict[TrialId, int]] = {}
        self._touched: dict[AgentId, None] = {}
        #: size -> lane reached -> number of victims -> offers, the best last
        self._offers: dict[int, dict[int, dict[int, list[_Offer]]]] = {}
        self._offered: dict[tuple[int, AgentId], list[tuple[int, _Offer]]] = {}
        self._emptied: dict[tuple[int, str], list[_Emptied]] = {}
        self._emptied_by: dict[AgentId, tuple[tuple[int, str], _Emptied]] = {}

    def add(self, request: Request) -> None:
        """Take note of a running trial; of one that may not be preempted nothing is kept."""
        if request.preemptible:
            trial_id = request.trial_id
            self._requests[trial_id] = request
            self._ranks[trial_id] = (request.priority, request.position, request.number, trial_id)
            for agent_id, slots in (request.placement or {}).items():
                self._here.setdefault(agent_id, {})[trial_id] = slots
                self.touch(agent_id)

    def remove(self, request: Request) -> None:
        """Forget a trial, which has stopped or was asked to."""
        if self._requests.pop(request.trial_id, None) is not None:
            del self._ranks[request.trial_id]
            for agent_id in request.placement or {}:
                del self._here[agent_id][request.trial_id]
                if not self._here[agent_id]:
                    del self._here[agent_id]
                self.touch(agent_id)

    def touch(self, agent_id: AgentId) -> None:
        """Take note that something about an agent has changed."""
        self._touched[agent_id] = None

    def victims(self, request: Request) -> list[Request]:
        """Return whom to stop so that a request that does not fit would; [] if nothing would help."""
        if not self._requests:
            return []
        self._refresh()
        found = self._on_one_agent(request)
        if not found and request.slots:
            found = self._on_whole_agents(request) or self._on_unequal_agents(request)
        return [self._requests[rank[3]] for rank in sorted(found, reverse=True)]

    def stays_hopeless(self, slots: int) -> bool:
        """Say of a gang for which no room can be made whether none can be made for any less important of its size.

        Where agents of unequal size may serve a gang, it can fit once fewer of them are idle.
        """
        if not self._after.policy.heterogeneous_fits or slots == 0:
            return True
        self._refresh()
        idle: dict[str, int] = {}
        for size, kind in self._after.groups():
            number = self._after.num_idle(size, kind) + len(self._emptied.get((size, kind), ()))
            idle[kind] = idle.get(kind, 0) + size * number
        return max(idle.values(), default=0) < slots

    def _on_one_agent(self, request: Request) -> Iterable[Rank]:
        offers = self._offers_of(request.slots)
        if not offers:
            return ()
        lane = max(offers)
        for _, of_number in sorted(offers[lane].items()):
            best = of_number[-1].victims
            if _may_stop(best[0], request):
                return best
        return ()

    def _on_whole_agents(self, request: Request) -> Iterable[Rank]:
        choices = [
            found
            for size, kind in self._after.groups()
            if request.slots > size
            and request.slots % size == 0
            and (found := self._emptying(request, size, kind, request.slots // size))
        ]
        return max(choices, key=lambda found: (min(found)[0], -len(found), sorted(found)), default=())

    def _emptying(self, request: Request, size: int, kind: str, count: int) -> set[Rank]:
        """Return whom to stop so that `count` agents of a size and kind are idle."""
        emptied = self._emptied.get((size, kind), [])
        missing = count - self._after.num_idle(size, kind)
        first = bisect_right(emptied, (request.priority, request.position), key=lambda agent: agent[:2])
        if not 0 < missing <= len(emptied) - first:
            return set()
        lane = emptied[-missing].priority
        first = max(first, bisect_left(emptied, lane, key=lambda agent: agent.priority))
        return self._cheapest([agent.agent_id for agent in emptied[first:]], missing)

    def _cheapest(self, agents: list[AgentId], count: int) -> set[Rank]:
        """Return the fewest whose stop makes `count` of these agents idle, the least important of equally few."""
        gangs: dict[TrialId, int] = {}
        small: list[tuple[int, list[Rank]]] = []
        for agent_id in agents:
            here = [trial_id for trial_id, slots in self._here[agent_id].items() if slots]
            trial_id = here[0]
            if len(here) == 1 and len(self._requests[trial_id].placement or {}) > 1:
                gangs[trial_id] = gangs.get(trial_id, 0) + 1
            else:
                ranks = sorted(self._ranks[other] for other in here)
                small.append((-len(here), ranks))
        small.sort(reverse=True)
        wide = sorted(gangs, key=lambda trial_id: (gangs[trial_id], self._ranks[trial_id]), reverse=True)
        choices, covered = [], 0
        for number in range(len(wide) + 1):
            covered += gangs[wide[number - 1]] if number else 0
            rest = max(0, count - covered)
            if rest <= len(small):
                chosen = {self._ranks[trial_id] for trial_id in wide[:number]}
                choices.append(chosen.union(*(ranks for _, ranks in small[:rest])))
            if covered >= count:
                break
        return max(choices, key=lambda ranks: (-len(ranks), sorted(ranks)), default=set())

    def _on_unequal_agents(self, request: Request) -> Iterable[Rank]:
        if not self._after.policy.heterogeneous_fits:
            return ()
        groups = [(group, agent) for group, agents in self._emptied.items() for agent in agents]
        groups = [found for found in groups if found[1][:2] > (request.priority, request.position)]
        for lane in sorted({agent.priority for _, agent in groups}, reverse=True):
            for kind in sorted({kind for (_, kind), _ in groups}):
                reached = [(size, agent) for (size, of), agent in groups if of == kind and agent.priority >= lane]
                if found := self._unequal(request.slots, kind, reached):
                    return found
        return ()

    def _unequal(self, slots: int, kind: str, reached: list[tuple[int, _Emptied]]) -> set[Rank]:
        """Return whom to stop so that agents of a kind hold a gang, chosen greedily from the largest."""
        missing, found = slots, set[Rank]()
        for size, of_kind in self._after.groups():
            if of_kind != kind:
                continue
            agents = [agent.agent_id for of_size, agent in reached if of_size == size]
            idle = self._after.num_idle(size, kind)
            wanted = min(missing // size, idle + len(agents))
            found |= self._cheapest(agents, wanted - idle) if wanted > idle else set()
            missing -= wanted * size
        return found if missing == 0 else set()

    def _offers_of(self, size: int) -> dict[int, dict[int, list[_Offer]]]:
        if size not in self._offers:
            self._offers[size] = {}
            for agent_id in self._here:
                self._offer(size, agent_id)
        return self._offers[size]

    def _refresh(self) -> None:
        for agent_id in self._touched:
            for size in self._offers:
                self._withdraw(size, agent_id)
                self._offer(size, agent_id)
            self._empty(agent_id)
        self._touched.clear()

    def _empty(self, agent_id: AgentId) -> None:
        """Take note whether and by whose stop an agent could be idle."""
        if known := self._emptied_by.pop(agent_id, None):
            agents = self._emptied[known[0]]
            del agents[bisect_left(agents, known[1])]
        here = self._here.get(agent_id)
        if not here or not self._after.is_open(agent_id):
            return
        machine = self._after.machines[agent_id]
        if machine.slots and self._after.free_on(agent_id) + sum(here.values()) == machine.slots and any(here.values()):
            best = min(self._ranks[trial_id] for trial_id, slots in here.items() if slots)
            entry = ((machine.slots, machine.kind), _Emptied(best[0], best[1], agent_id))
            insort(self._emptied.setdefault(entry[0], []), entry[1])
            self._emptied_by[agent_id] = entry

    def _withdraw(self, size: int, agent_id: AgentId) -> None:
        for lane, offer in self._offered.pop((size, agent_id), ()):
            lanes = self._offers[size]
            offers = lanes[lane][len(offer.victims)]
            del offers[bisect_left(offers, offer)]
            if not offers:
                del lanes[lane][len(offer.victims)]
                if not lanes[lane]:
                    del lanes[lane]

    def _offer(self, size: int, agent_id: AgentId) -> None:
        """Take note of the ways in which a size could be made to fit on an agent, with the least reach."""
        here = self._here.get(agent_id)
        if not here or not self._after.is_open(agent_id) or size > self._after.machines[agent_id].slots:
            return
        room = self._after.free_on(agent_id) if size else self._after.zero_room_on(agent_id)
        alike = ((trial_id, slots) for trial_id, slots in here.items() if bool(slots) == bool(size))
        parts = [(self._ranks[trial_id], slots or 1) for trial_id, slots in alike]
        offered = [(lane, _Offer(victims, agent_id)) for lane, victims in _ways(parts, (size or 1) - room)]
        for lane, offer in offered:
            insort(self._offers[size].setdefault(lane, {}).setdefault(len(offer.victims), []), offer)
        if offered:
            self._offered[size, agent_id] = offered


def _may_stop(victim: Rank, request: Request) -> bool:
    return victim[:2] > (request.priority, request.position)


def _ways(parts: list[tuple[Rank, int]], missing: int) -> list[tuple[int, tuple[Rank, ...]]]:
    """Return (lane reached, whom to stop, the most important first): with the least reach, for each number of victims
    that is enough and spares somebody more important than a smaller number does."""
    if missing <= 0 or not parts:
        return []
    if len(parts) == 1:
        ((rank, slots),) = parts
        return [(rank[0], (rank,))] if slots >= missing else []
    parts.sort(reverse=True)
    freed = 0
    for rank, slots in parts:
        freed += slots
        if freed >= missing:
            lane = rank[0]
            break
    else:
        return []
    within = [part for part in parts if part[0][0] >= lane]
    ways: list[tuple[int, tuple[Rank, ...]]] = []
    for number in range(1, len(within) + 1):
        victims = _least_important(within, number, missing)
        if victims and (not ways or victims[0] > ways[-1][1][0]):
            ways.append((lane, victims))
    return ways


def _least_important(parts: list[tuple[Rank, int]], number: int, missing: int) -> tuple[Rank, ...]:
    """Return the `number` least important that are enough, the most important first; () if no so many are.

    `parts` come with the least important first. Whoever the rest can do without is left out, the most important first.
    """
    kept = list(parts)
    for part in reversed(parts):
        rest = [other for other in kept if other is not part]
        if sum(sorted((slots for _, slots in rest), reverse=True)[:number]) >= missing:
            kept = rest
    is_enough = len(kept) <= number and sum(slots for _, slots in kept) >= missing
    return tuple(rank for rank, _ in reversed(kept)) if is_enough else ()

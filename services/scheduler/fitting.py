"""Where a gang goes: all of its slots or none. The free slots of a pool's agents, with the rules of choice.

After Determined's agent resource manager (`fitting.go`), every tie-break written down here:

1. One agent, if any has enough free slots. `best`: the one with the fewest free slots; `worst`: the one with the
   largest free part. Ties go to the lower agent id (Determined spreads them by a hash).
2. Otherwise several whole idle agents of equal size and kind: the largest size that divides the gang and of which there
   are enough. Agents near each other are preferred: on one host, else behind one switch (the smallest group that
   suffices), else behind as few switches as possible; then lower ids. So 16 slots never run on idle {8, 7, 7} but take
   the four 4s of {8, 7, 7, 4, 4, 4, 4}.
3. Where the pool allows it (`heterogeneous_fits`) and no equal agents suffice: whole idle agents of one kind, greedily
   from the largest, as many of each size as fit into what is missing; no second thoughts.

Kinds of slots never mix: an agent with slots of several kinds counts as one machine a kind. A task without slots goes
to an agent that runs fewer of them than its limit: `best` to the one with the fewest free slots (an idle one counts by
its room for such tasks instead), `worst` to the one with the largest free part.

Asked often, so the agents are indexed: those with room by (size, kind, free slots), idle ones by (size, kind). A pass
marks where it begins, books as it goes, and undoes its bookings in the end.
"""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from msgspec.structs import replace

from services.scheduler.nearness import Idle
from services.scheduler.pool import Machine, Placement, Roomy
from shared.events import Fitting, PoolPolicy
from shared.ids import AgentId

NUM_ROOMY = 4  # of the agents that have room, as many are named

_Key = TypeVar("_Key", bound=Hashable)


class _Index(Generic[_Key]):
    """Agents by a key, each list sorted by id."""

    def __init__(self) -> None:
        self.agents: dict[_Key, list[AgentId]] = {}

    def add(self, key: _Key, agent_id: AgentId) -> None:
        insort(self.agents.setdefault(key, []), agent_id)

    def remove(self, key: _Key, agent_id: AgentId) -> None:
        agents = self.agents[key]
        del agents[bisect_left(agents, agent_id)]
        if not agents:
            del self.agents[key]


class Fleet:
    """The free slots of a pool's agents, and which of them would be taken."""

    def __init__(self, machines: Iterable[Machine], policy: PoolPolicy) -> None:
        self.policy = policy
        self.machines: dict[AgentId, Machine] = {}
        self._free: dict[AgentId, int] = {}
        self._num_zero: dict[AgentId, int] = {}
        self._open: set[AgentId] = set()
        self._roomy = _Index[tuple[int, str, int]]()
        self._zero: _Index[float] | None = None  # those that may run more tasks without slots, once somebody asks
        self._idle: dict[tuple[int, str], Idle] = {}
        self.bookings: list[tuple[AgentId, int, int]] = []  # of this pass: slots and tasks without slots
        self.kept: list[AgentId] = []  # in this pass
        self._repeated = (0, 0)  # how many of another fleet's bookings and holds
        self._idle_twin: Fleet | None = None  # every slot free
        self._opened_twin: Fleet | None = None  # every slot free and open
        self._closed: set[AgentId] = set()  # agents that take no new work, or some slots of which take none
        self._possible: dict[int, bool] = {}
        self._is_reshaped = False  # since `possible` was found
        for machine in sorted(machines, key=lambda machine: machine.agent_id):
            self.put(machine)

    def put(self, machine: Machine) -> None:
        """Take note of an agent, or of what has become of it."""
        known = self._drop(machine.agent_id)
        self.machines[machine.agent_id] = machine
        self._free[machine.agent_id], self._num_zero[machine.agent_id] = machine.free, machine.num_zero_slot
        if machine.is_open:
            self._open.add(machine.agent_id)
            self._enter(machine.agent_id)
        if not machine.is_open or machine.num_closed:
            self._closed.add(machine.agent_id)
        if known is None or _idle(known) != _idle(machine):
            self._is_reshaped = True
            if self._idle_twin is not None:
                self._idle_twin.put(_idle(machine))
            if self._opened_twin is not None:
                self._opened_twin.put(_opened(machine))

    def remove(self, agent_id: AgentId) -> None:
        """Forget an agent."""
        self._drop(agent_id)
        self._is_reshaped = True
        for twin in (self._idle_twin, self._opened_twin):
            if twin is not None:
                twin.remove(agent_id)

    def _drop(self, agent_id: AgentId) -> Machine | None:
        self._closed.discard(agent_id)
        if agent_id in self._open:
            self._leave(agent_id)
            self._open.remove(agent_id)
        self._free.pop(agent_id, None)
        self._num_zero.pop(agent_id, None)
        return self.machines.pop(agent_id, None)

    @property
    def is_empty(self) -> bool:
        """Whether no agent takes new work."""
        return not self._open

    @property
    def num_slots(self) -> int:
        """The slots of the open agents."""
        return sum(size * len(agents) for (size, _, _), agents in self._roomy.agents.items())

    @property
    def num_free(self) -> int:
        """The free ones among them."""
        return sum(free * len(agents) for (_, _, free), agents in self._roomy.agents.items())

    @property
    def most_free(self) -> int:
        """The free slots of the open agent that has most."""
        return max((free for _, _, free in self._roomy.agents), default=0)

    def is_open(self, agent_id: AgentId) -> bool:
        """Say whether new work could go to an agent."""
        return agent_id in self._open

    def free_on(self, agent_id: AgentId) -> int:
        """The free slots of an agent."""
        return self._free[agent_id]

    def zero_room_on(self, agent_id: AgentId) -> int:
        """How many more tasks without slots an agent may run."""
        return self.machines[agent_id].zero_slot_limit - self._num_zero[agent_id]

    def num_idle(self, size: int, kind: str) -> int:
        """How many open agents of a size and kind are idle."""
        idle = self._idle.get((size, kind))
        return len(idle) if idle else 0

    def groups(self) -> list[tuple[int, str]]:
        """The sizes and kinds of the open agents with slots, the largest first."""
        return sorted({(size, kind) for size, kind, _ in self._roomy.agents if size}, reverse=True)

    def fit(self, slots: int) -> Placement | None:
        """Return where a gang would go now, or None."""
        if slots == 0:
            return self._fit_zero()
        return self._fit_one(slots) or self._fit_whole(slots) or self._fit_unequal(slots)

    def stays_unfit(self, slots: int) -> bool:
        """Say of a gang that does not fit whether none of its size will, whatever else is placed first.

        Where agents of unequal size may serve a gang, it can fit once fewer of them are idle.
        """
        if not self.policy.heterogeneous_fits or slots == 0:
            return True
        idle: dict[str, int] = {}
        for (size, kind), agents in self._idle.items():
            idle[kind] = idle.get(kind, 0) + size * len(agents)
        return max(idle.values(), default=0) < slots

    def roomy(self, slots: int) -> Roomy:
        """Return the open agents that alone have room for a gang now: the preferred one and the next few by name."""
        if slots == 0:
            found = sorted(self._zeros().items())
        else:
            found = sorted(
                (self._score(size, free), agents)
                for (size, _, free), agents in self._roomy.agents.items()
                if free >= slots
            )
        named = [agent_id for _, agents in found for agent_id in agents[:NUM_ROOMY]][:NUM_ROOMY]
        free_on = {agent_id: self._free[agent_id] for agent_id in named}
        return Roomy(num_agents=sum(len(agents) for _, agents in found), free=free_on)

    def ideal(self, slots: int) -> Placement | None:
        """Return where a gang would go if every slot of the open agents were free, or None."""
        return self._as_idle().fit(slots)

    def can_ever_fit(self, slots: int) -> bool:
        """Say whether the gang would fit if every slot of the open agents were free."""
        if slots not in self.possible:
            self._possible[slots] = self.ideal(slots) is not None
        return self._possible[slots]

    @property
    def possible(self) -> dict[int, bool]:
        """What `can_ever_fit` has found so far; another one when some of it is no longer so."""
        if self._is_reshaped:
            self._is_reshaped = False
            found = {slots: self.ideal(slots) is not None for slots in self._possible}
            if found != self._possible:
                self._possible = found
        return self._possible

    def could_hold(self, slots: int) -> bool:
        """Say whether the pool as it stands could hold the gang, agents and slots included that take no new work now.

        A gang for which this is not so is refused at submission; if it is waiting already, it is in nobody's way.
        """
        if self.can_ever_fit(slots) or not self._closed:
            return self.can_ever_fit(slots)
        if self._opened_twin is None:
            self._opened_twin = Fleet(map(_opened, self.machines.values()), self.policy)
        return self._opened_twin.can_ever_fit(slots)

    def take(self, placement: Placement) -> None:
        """Book a gang's slots, in this pass."""
        self._book(placement, 1)

    def give(self, placement: Placement) -> None:
        """Count a gang's slots as free, in this pass."""
        self._book(placement, -1)

    def hold(self, agent_ids: Iterable[AgentId]) -> None:
        """Keep agents from whoever comes later in this pass."""
        for agent_id in agent_ids:
            if agent_id in self._open:
                self._leave(agent_id)
                self._open.remove(agent_id)
                self.kept.append(agent_id)

    def repeat(self, other: "Fleet") -> None:
        """Do what was done to another fleet of the same agents in this pass and is not repeated yet."""
        bookings, kept = other.bookings[self._repeated[0] :], other.kept[self._repeated[1] :]
        for agent_id, slots, zeros in bookings:
            self._shift(agent_id, slots, zeros)
        self.bookings += bookings
        self.hold(kept)
        self._repeated = len(other.bookings), len(other.kept)

    @property
    def booked(self) -> list[AgentId]:
        """The agents about which something was booked in this pass."""
        return [*self.kept, *(agent_id for agent_id, _, _ in self.bookings)]

    def undo(self) -> None:
        """Undo all that was booked in this pass."""
        for agent_id, slots, zeros in reversed(self.bookings):
            self._shift(agent_id, -slots, -zeros)
        for agent_id in self.kept:
            self._open.add(agent_id)
            self._enter(agent_id)
        self.bookings, self.kept, self._repeated = [], [], (0, 0)

    def change(self, agent_id: AgentId, freed: int, zeros_gone: int) -> None:
        """Take note that slots, or tasks without slots, have fallen free for good on an agent, if it is known."""
        if agent_id in self.machines:
            self._shift(agent_id, -freed, -zeros_gone)

    def reservation(self, slots: int) -> tuple[AgentId, ...]:
        """Return the agents that should be kept for a gang, nearest to being free first; () if none will do.

        What is kept only gains free slots, so that from pass to pass the gang's prospects never get worse.
        """
        roomiest_first = sorted(self._roomy.agents.items(), key=lambda found: -found[0][2])
        alone = [(free, agents[0]) for (size, _, free), agents in roomiest_first if size >= slots]
        if alone:
            most = alone[0][0]
            return (min(agent_id for free, agent_id in alone if free == most),)
        choices = []
        for size, kind in self.groups():
            if slots % size == 0:
                near = [a for (s, k, _), agents in roomiest_first if (s, k) == (size, kind) for a in agents]
                if len(near) * size >= slots:
                    choices.append(tuple(near[: slots // size]))
        if choices:
            return max(choices, key=lambda agents: sum(self._free[agent_id] for agent_id in agents))
        return tuple(self.ideal(slots) or ())

    def _as_idle(self) -> "Fleet":
        if self._idle_twin is None:
            self._idle_twin = Fleet((_idle(machine) for machine in self.machines.values()), self.policy)
        return self._idle_twin

    def _fit_one(self, slots: int) -> Placement | None:
        roomy = [
            (self._score(size, free), agents[0])
            for (size, _, free), agents in self._roomy.agents.items()
            if free >= slots
        ]
        return {min(roomy)[1]: slots} if roomy else None

    def _score(self, size: int, free: int) -> float:
        """Less is better."""
        return free if self.policy.fitting is Fitting.BEST else -free / max(1, size)

    def _fit_whole(self, slots: int) -> Placement | None:
        for (size, _), idle in sorted(self._idle.items(), key=_largest_first):
            if slots > size and slots % size == 0 and len(idle) * size >= slots:
                return dict.fromkeys(idle.choose(slots // size), size)
        return None

    def _fit_unequal(self, slots: int) -> Placement | None:
        if not self.policy.heterogeneous_fits:
            return None
        for kind in sorted({kind for _, kind in self._idle}):
            placement, missing = Placement(), slots
            for (size, of_kind), idle in sorted(self._idle.items(), key=_largest_first):
                if of_kind == kind:
                    taken = idle.choose(min(missing // size, len(idle)))
                    placement |= dict.fromkeys(taken, size)
                    missing -= size * len(taken)
            if missing == 0:
                return placement
        return None

    def _fit_zero(self) -> Placement | None:
        zeros = self._zeros()
        return {zeros[min(zeros)][0]: 0} if zeros else None

    def _zeros(self) -> dict[float, list[AgentId]]:
        """Return the open agents that may run one more task without slots, by their score."""
        if self._zero is None:
            self._zero = _Index()
            for agent_id in sorted(self._open):
                if self.zero_room_on(agent_id) > 0:
                    self._zero.add(self._zero_score(agent_id), agent_id)
        return self._zero.agents

    def _zero_score(self, agent_id: AgentId) -> float:
        machine, free = self.machines[agent_id], self._free[agent_id]
        if self.policy.fitting is Fitting.BEST and free == machine.slots:
            return machine.zero_slot_limit - self._num_zero[agent_id]
        return self._score(machine.slots, free)

    def _book(self, placement: Placement, sign: int) -> None:
        for agent_id, number in placement.items():
            if agent_id in self.machines:  # else it is gone, and its slots with it
                booking = (agent_id, sign * number, sign if number == 0 else 0)
                self._shift(*booking)
                self.bookings.append(booking)

    def _shift(self, agent_id: AgentId, slots: int, zeros: int) -> None:
        is_open = agent_id in self._open
        if is_open:
            self._leave(agent_id)
        self._free[agent_id] -= slots
        self._num_zero[agent_id] += zeros
        if is_open:
            self._enter(agent_id)

    def _enter(self, agent_id: AgentId) -> None:
        machine, free = self.machines[agent_id], self._free[agent_id]
        self._roomy.add((machine.slots, machine.kind, free), agent_id)
        if free == machine.slots and free:
            self._idle.setdefault((machine.slots, machine.kind), Idle()).add(machine)
        if self._zero is not None and self.zero_room_on(agent_id) > 0:
            self._zero.add(self._zero_score(agent_id), agent_id)

    def _leave(self, agent_id: AgentId) -> None:
        machine, free = self.machines[agent_id], self._free[agent_id]
        self._roomy.remove((machine.slots, machine.kind, free), agent_id)
        if free == machine.slots and free:
            self._idle[machine.slots, machine.kind].remove(machine)
        if self._zero is not None and self.zero_room_on(agent_id) > 0:
            self._zero.remove(self._zero_score(agent_id), agent_id)


def _largest_first(found: tuple[tuple[int, str], Idle]) -> tuple[int, str]:
    """Order idle agents by size, the largest first, then by kind."""
    (size, kind), _ = found
    return -size, kind


def _idle(machine: Machine) -> Machine:
    return replace(machine, free=machine.slots, num_zero_slot=0)


def _opened(machine: Machine) -> Machine:
    return replace(_idle(machine), slots=machine.slots + machine.num_closed, is_open=True, num_closed=0)

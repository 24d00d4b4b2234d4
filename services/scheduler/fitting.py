"""Where a gang goes: all of its slots or none. A working copy of a pool's free slots, with the rules of choice.

After Determined's agent resource manager (`fitting.go`), every tie-break written down here:

1. One agent, if any has enough free slots. `best`: the one with the fewest free slots; `worst`: the one with the
   largest free part. Ties go to the lower agent id (Determined spreads them by a hash).
2. Otherwise several whole idle agents of equal size and kind: the largest size that divides the gang and of which there
   are enough. Agents behind one switch are preferred (the switch with the fewest idle ones that suffice), then
   lower ids. So 16 slots never run on idle {8, 7, 7} but take the four 4s of {8, 7, 7, 4, 4, 4, 4}.
3. Where the pool allows it (`heterogeneous_fits`) and no equal agents suffice: whole idle agents of one kind, greedily
   from the largest, as many of each size as fit into what is missing; no second thoughts.

Kinds of slots never mix, as an agent has one kind. A task without slots goes to an agent that runs fewer of them than
its limit: `best` to the one with the fewest free slots, `worst` to the one with the largest free part.

Asked often, so the agents are indexed: those with room by (size, free slots), idle ones by (size, kind).
"""

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from services.scheduler.pool import Machine, Placement, Roomy
from shared.events import Fitting, PoolPolicy
from shared.ids import AgentId

NUM_ROOMY = 4  # of the agents that have room, as many are named


class Fleet:
    """The free slots of a pool's agents while a plan is made."""

    def __init__(self, machines: Iterable[Machine], policy: PoolPolicy) -> None:
        self.policy = policy
        self.machines = {machine.agent_id: machine for machine in machines}
        self._free = {machine.agent_id: machine.free for machine in self.machines.values()}
        self._num_zero = {machine.agent_id: machine.num_zero_slot for machine in self.machines.values()}
        self._open = {machine.agent_id for machine in self.machines.values() if machine.is_open}
        self._roomy: dict[tuple[int, int], list[AgentId]] = defaultdict(list)
        self._idle: dict[tuple[int, str], list[AgentId]] = defaultdict(list)
        self._has_switches = any(machine.switch for machine in self.machines.values())
        self._idle_twin: Fleet | None = None
        self._open_twin: Fleet | None = None
        self._possible: dict[int, bool] = {}
        for agent_id in sorted(self._open):
            self._enter(agent_id)

    @property
    def is_empty(self) -> bool:
        """Whether no agent takes new work."""
        return not self._open

    @property
    def num_slots(self) -> int:
        """The slots of the open agents."""
        return sum(size * len(agents) for (size, _), agents in self._roomy.items())

    @property
    def num_free(self) -> int:
        """The free ones among them."""
        return sum(free * len(agents) for (_, free), agents in self._roomy.items())

    @property
    def most_free(self) -> int:
        """The free slots of the open agent that has most."""
        return max((free for (_, free), agents in self._roomy.items() if agents), default=0)

    def free_on(self, agent_id: AgentId) -> int:
        """The free slots that new work could use on an agent; less than none where it takes no new work."""
        return self._free[agent_id] if agent_id in self._open else -self.machines[agent_id].slots - 1

    def copy(self) -> "Fleet":
        """Return a copy with its own books."""
        twin = Fleet((), self.policy)
        twin.machines, twin._has_switches = self.machines, self._has_switches
        twin._free, twin._num_zero, twin._open = dict(self._free), dict(self._num_zero), set(self._open)
        twin._roomy.update({key: list(agents) for key, agents in self._roomy.items()})
        twin._idle.update({key: list(agents) for key, agents in self._idle.items()})
        twin._idle_twin, twin._open_twin, twin._possible = self._idle_twin, self._open_twin, self._possible
        return twin

    def fit(self, slots: int) -> Placement | None:
        """Return where a gang would go now, or None."""
        if slots == 0:
            return self._fit_zero()
        return self._fit_one(slots) or self._fit_whole(slots) or self._fit_unequal(slots)

    def roomy(self, slots: int) -> Roomy:
        """Return the open agents that alone have room for a gang now: the preferred one and the next few by name."""
        found = sorted((self._score(*key), key[1], agents) for key, agents in self._roomy.items() if key[1] >= slots)
        named = [(agent_id, free) for _, free, agents in found for agent_id in agents[:NUM_ROOMY]]
        return Roomy(num_agents=sum(len(agents) for _, _, agents in found), free=dict(named[:NUM_ROOMY]))

    def ideal(self, slots: int) -> Placement | None:
        """Return where a gang would go if every slot of the open agents were free, or None."""
        return self._as_idle().fit(slots)

    def can_ever_fit(self, slots: int) -> bool:
        """Say whether the gang would fit if every slot of the open agents were free."""
        if slots not in self._possible:
            self._possible[slots] = self._as_idle().fit(slots) is not None
        return self._possible[slots]

    def would_fit_if_open(self, slots: int) -> bool:
        """Say whether the gang would fit if agents and slots that take no new work did, and every slot were free."""
        machines = self.machines.values()
        if all(machine.is_open and not machine.num_closed for machine in machines):
            return False
        if self._open_twin is None:
            sizes = (replace(machine, slots=machine.slots + machine.num_closed, is_open=True) for machine in machines)
            self._open_twin = Fleet(sizes, self.policy)
        return self._open_twin.can_ever_fit(slots)

    def take(self, placement: Placement) -> None:
        """Book a gang's slots."""
        self._book(placement, 1)

    def give(self, placement: Placement) -> None:
        """Cancel a booking."""
        self._book(placement, -1)

    def hold(self, agent_ids: Iterable[AgentId]) -> None:
        """Keep agents from whoever comes later in this pass."""
        for agent_id in agent_ids:
            if agent_id in self._open:
                self._leave(agent_id)
                self._open.remove(agent_id)

    def reservation(self, slots: int) -> tuple[AgentId, ...]:
        """Return the agents that should be kept for a gang, nearest to being free first; () if none will do.

        What is kept only gains free slots, so that from pass to pass the gang's prospects never get worse.
        """
        alone = [agent_id for agent_id in self._open if self.machines[agent_id].slots >= slots]
        if alone:
            return (min(alone, key=self._nearness),)
        alike: dict[tuple[int, str], list[AgentId]] = defaultdict(list)
        for agent_id in self._open:
            machine = self.machines[agent_id]
            if machine.slots and slots % machine.slots == 0:
                alike[machine.slots, machine.kind].append(agent_id)
        choices = [
            tuple(sorted(agents, key=self._nearness)[: slots // size])
            for (size, _), agents in sorted(alike.items(), reverse=True)
            if len(agents) * size >= slots
        ]
        if choices:
            return max(choices, key=lambda agents: sum(self._free[agent_id] for agent_id in agents))
        return tuple(self._as_idle().fit(slots) or ())

    def _nearness(self, agent_id: AgentId) -> tuple[int, AgentId]:
        return -self._free[agent_id], agent_id

    def _as_idle(self) -> "Fleet":
        if self._idle_twin is None:
            machines = (m for m in self.machines.values() if m.agent_id in self._open)
            idle = (_idle(machine) for machine in machines)
            self._idle_twin = Fleet(idle, self.policy)
        return self._idle_twin

    def _fit_one(self, slots: int) -> Placement | None:
        roomy = [(key, agents[0]) for key, agents in self._roomy.items() if agents and key[1] >= slots]
        if not roomy:
            return None
        return {min(roomy, key=lambda found: (self._score(*found[0]), found[1]))[1]: slots}

    def _score(self, size: int, free: int) -> float:
        """Less is better."""
        return free if self.policy.fitting is Fitting.BEST else -free / max(1, size)

    def _fit_whole(self, slots: int) -> Placement | None:
        for (size, _), agents in sorted(self._idle.items(), reverse=True):
            if slots > size and slots % size == 0 and len(agents) * size >= slots:
                return dict.fromkeys(self._near_each_other(agents, slots // size), size)
        return None

    def _near_each_other(self, agents: list[AgentId], count: int) -> list[AgentId]:
        if self._has_switches:
            numbers = Counter(self.machines[agent_id].switch for agent_id in agents)
            enough = [(number, switch) for switch, number in numbers.items() if switch and number >= count]
            if enough:
                _, nearest = min(enough)
                agents = [agent_id for agent_id in agents if self.machines[agent_id].switch == nearest]
        return agents[:count]

    def _fit_unequal(self, slots: int) -> Placement | None:
        if not self.policy.heterogeneous_fits:
            return None
        for kind in sorted({kind for _, kind in self._idle}):
            placement, missing = Placement(), slots
            for (size, of_kind), agents in sorted(self._idle.items(), reverse=True):
                if of_kind == kind:
                    taken = agents[: missing // size]
                    placement |= dict.fromkeys(taken, size)
                    missing -= size * len(taken)
            if missing == 0:
                return placement
        return None

    def _fit_zero(self) -> Placement | None:
        roomy = [a for a in self._open if self._num_zero[a] < self.machines[a].zero_slot_limit]
        if not roomy:
            return None
        return {min(roomy, key=lambda a: (self._score(self.machines[a].slots, self._free[a]), a)): 0}

    def _book(self, placement: Placement, sign: int) -> None:
        for agent_id, number in placement.items():
            if agent_id not in self.machines:
                continue  # it is gone, and its slots with it
            if number == 0:
                self._num_zero[agent_id] += sign
                continue
            if agent_id in self._open:
                self._leave(agent_id)
            self._free[agent_id] -= sign * number
            if agent_id in self._open:
                self._enter(agent_id)

    def _enter(self, agent_id: AgentId) -> None:
        machine, free = self.machines[agent_id], self._free[agent_id]
        insort(self._roomy[machine.slots, free], agent_id)
        if free == machine.slots and free:
            insort(self._idle[machine.slots, machine.kind], agent_id)

    def _leave(self, agent_id: AgentId) -> None:
        machine, free = self.machines[agent_id], self._free[agent_id]
        _remove(self._roomy[machine.slots, free], agent_id)
        if free == machine.slots and free:
            _remove(self._idle[machine.slots, machine.kind], agent_id)


def _idle(machine: Machine) -> Machine:
    return Machine(
        agent_id=machine.agent_id,
        slots=machine.slots,
        free=machine.slots,
        kind=machine.kind,
        zero_slot_limit=machine.zero_slot_limit,
    )


def _remove(agents: list[AgentId], agent_id: AgentId) -> None:
    del agents[bisect_left(agents, agent_id)]

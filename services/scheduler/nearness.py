"""Which idle agents are near each other: on one host, or behind one switch.

Agents of one kind and size, grouped by a label, so that a gang finds the smallest group that holds all of it without
looking at every agent.
"""

from bisect import bisect_left, insort

from services.scheduler.pool import Machine
from shared.ids import AgentId


class _Groups:
    """Agents by one label; agents without it are near nobody."""

    def __init__(self) -> None:
        self._members: dict[str, list[AgentId]] = {}
        self._labels: dict[int, list[str]] = {}  # by the number of members

    def add(self, label: str, agent_id: AgentId) -> None:
        members = self._members.setdefault(label, [])
        self._unfile(label, len(members))
        insort(members, agent_id)
        self._file(label, len(members))

    def remove(self, label: str, agent_id: AgentId) -> None:
        members = self._members[label]
        self._unfile(label, len(members))
        _remove(members, agent_id)
        self._file(label, len(members))
        if not members:
            del self._members[label]

    def smallest(self, count: int) -> list[AgentId] | None:
        """The members of the smallest group of at least `count`; of equal ones the first by name."""
        number = min((number for number in self._labels if number >= count), default=None)
        return None if number is None else self._members[self._labels[number][0]]

    def largest_first(self, count: int) -> list[AgentId]:
        """At least `count` agents, if there are so many, of as few groups as possible."""
        found: list[AgentId] = []
        for number in sorted(self._labels, reverse=True):
            for label in self._labels[number]:
                missing = count - len(found)
                if missing <= 0:
                    return found
                found += (self.smallest(missing) or []) if number > missing else self._members[label]
                if number > missing:
                    return found
        return found

    def _file(self, label: str, number: int) -> None:
        if number:
            insort(self._labels.setdefault(number, []), label)

    def _unfile(self, label: str, number: int) -> None:
        if number:
            labels = self._labels[number]
            del labels[bisect_left(labels, label)]
            if not labels:
                del self._labels[number]


class Idle:
    """The idle agents of one size and kind."""

    def __init__(self) -> None:
        self._all: list[AgentId] = []
        self._on_host, self._behind_switch = _Groups(), _Groups()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._all)

    def add(self, machine: Machine) -> None:
        """Count an agent in."""
        insort(self._all, machine.agent_id)
        if machine.host:
            self._on_host.add(machine.host, machine.agent_id)
        if machine.switch:
            self._behind_switch.add(machine.switch, machine.agent_id)

    def remove(self, machine: Machine) -> None:
        """Count an agent out."""
        _remove(self._all, machine.agent_id)
        if machine.host:
            self._on_host.remove(machine.host, machine.agent_id)
        if machine.switch:
            self._behind_switch.remove(machine.switch, machine.agent_id)

    def choose(self, count: int) -> list[AgentId]:
        """Return `count` agents: of one host if one has so many, else behind one switch, else behind few switches."""
        together = self._on_host.smallest(count) or self._behind_switch.smallest(count)
        if together is None:
            together = self._behind_switch.largest_first(count)
            together += [agent_id for agent_id in self._all[: count + len(together)] if agent_id not in set(together)]
        return together[:count]


def _remove(agents: list[AgentId], agent_id: AgentId) -> None:
    del agents[bisect_left(agents, agent_id)]

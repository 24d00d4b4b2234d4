"""Who leads: the rule, as histories."""

from shared.events import LeaderElected
from shared.leadership import LEASE_S, Leadership
from tests.support.history import History


def _instance(name: str, incarnation: str) -> Leadership:
    return Leadership(service="scheduler", instance=name, incarnation=incarnation)


def _fold(leadership: Leadership, *elections: LeaderElected) -> Leadership:
    History(leadership, Leadership.evolve, lambda _: None).fold(elections)
    return leadership


def _elected(instance: str, incarnation: str, term: int, service: str = "scheduler") -> LeaderElected:
    return LeaderElected(service=service, instance=instance, incarnation=incarnation, term=term)


def test_the_first_instance_stands_at_once() -> None:
    assert _instance("a", "x").candidacy(0.0) == _elected("a", "x", 1)


def test_a_standby_waits_while_the_leader_is_heard() -> None:
    standby = _fold(_instance("b", "y"), _elected("a", "x", 1))
    assert standby.candidacy(LEASE_S) is None
    assert standby.candidacy(LEASE_S + 0.1) == _elected("b", "y", 2)


def test_a_restarted_leader_stands_at_once_against_its_former_life() -> None:
    restarted = _fold(_instance("a", "new"), _elected("a", "old", 4))
    assert not restarted.leads
    assert restarted.candidacy(0.0) == _elected("a", "new", 5)


def test_a_leader_that_was_deposed_knows_it_from_the_log() -> None:
    leader = _fold(_instance("a", "x"), _elected("a", "x", 1))
    assert leader.leads
    assert leader.candidacy(99.0) is None
    assert not _fold(leader, _elected("b", "y", 2)).leads


def test_two_processes_of_one_name_do_not_depose_each_other_in_turns() -> None:
    first = _fold(_instance("a", "one"), _elected("a", "one", 1), _elected("a", "two", 2))
    assert first.candidacy(0.0) is None
    assert first.candidacy(LEASE_S + 0.1) == _elected("a", "one", 3)


def test_other_services_elect_for_themselves() -> None:
    assert _fold(_instance("a", "x"), _elected("a", "x", 1, service="searcher")).leader is None

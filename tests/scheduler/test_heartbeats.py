"""Who was heard when, by this process's own order of hearing: nobody else's clock counts."""

from services.scheduler.heartbeats import Heartbeats
from services.scheduler.memory import State
from shared.ids import AgentId
from tests.scheduler.test_administration import rejoined
from tests.scheduler.world import World, joined, submitted

A = AgentId("a")


def rivals() -> State:
    """An agent, and another process that claims its name."""
    return World(submitted(), joined("a", 1), rejoined("a", 4, "i2", succeeds="")).state


def contested(heartbeats: Heartbeats, state: State) -> set[str]:
    return set(heartbeats.contested(state.agents, state.claimants))


def test_a_name_is_contested_once_its_owner_is_heard_after_the_claim_was_folded() -> None:
    state, heartbeats = rivals(), Heartbeats()
    heartbeats.hear(A, "i1")
    assert contested(heartbeats, state) == set(), "it was heard before we knew of the claim"
    heartbeats.hear(A, "i2")
    heartbeats.hear(AgentId("b"), "i1")
    assert contested(heartbeats, state) == set(), "the rival itself and others say nothing about the owner"
    heartbeats.hear(A, "i1")
    assert contested(heartbeats, state) == {"a/i2"}
    assert contested(heartbeats, state) == {"a/i2"}, "until the claim is settled"


def test_a_claim_that_is_settled_is_forgotten() -> None:
    state, heartbeats = rivals(), Heartbeats()
    contested(heartbeats, state)
    heartbeats.hear(A, "i1")
    state.claimants.clear()
    assert contested(heartbeats, state) == set()
    assert contested(heartbeats, rivals()) == set(), "another claim is another matter"

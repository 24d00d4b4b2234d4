"""Snapshots: what comes back is what went in, and only under the same code and stream."""

from pathlib import Path

import msgspec
import pytest

from services.scheduler.memory import State
from services.searcher.snapshot import snapshots as searcher_snapshots
from services.searcher.state import State as SearcherState
from shared.decisions import Memory
from shared.ids import AgentId
from shared.snapshots import Snapshots, code_version
from tests.scheduler.world import World, joined, requested, submitted
from tests.searcher.world import World as SearcherWorld
from tests.searcher.world import submitted as search_submitted

STREAM = "EVENTS 2030-01-01"


def _snapshots(directory: Path | None) -> Snapshots[Memory[State]]:
    return Snapshots(directory, "scheduler", Memory[State], ("services.scheduler",))


def test_the_schedulers_memory_comes_back(tmp_path: Path) -> None:
    world = World(submitted(), joined("a", 2), requested(1), requested(2, slots=2))
    world.settle()
    memory = Memory(state=world.state, last=7)
    _snapshots(tmp_path).save(STREAM, 9, memory)
    assert _snapshots(tmp_path).load(STREAM) == (9, memory)


def test_the_searchers_memory_comes_back_and_decides_the_same(tmp_path: Path) -> None:
    world = SearcherWorld(search_submitted())
    world.settle()
    due = dict(world.state.due)
    world.state.due.clear()  # as after a question was asked, which dies with the process
    searcher_snapshots(tmp_path, "searcher").save(STREAM, 9, Memory(state=world.state))
    found = searcher_snapshots(tmp_path, "searcher").load(STREAM)
    assert found is not None
    assert list(found[1].state.due) == list(world.state.searches), "nobody would ask again"
    found[1].state.due, world.state.due = due, due
    assert found[1].state == world.state
    (search,) = found[1].state.searches.values()
    (known,) = world.state.searches.values()
    assert search.method == known.method


def test_another_streams_snapshot_is_ignored(tmp_path: Path) -> None:
    _snapshots(tmp_path).save(STREAM, 9, Memory(state=State()))
    assert _snapshots(tmp_path).load("EVENTS 2031-01-01") is None


def test_another_codes_snapshot_is_ignored(tmp_path: Path) -> None:
    _snapshots(tmp_path).save(STREAM, 9, Memory(state=State()))
    other: Snapshots[Memory[State]] = Snapshots(tmp_path, "scheduler", Memory[State], ("services.searcher",))
    assert other.load(STREAM) is None


@pytest.mark.parametrize("content", [b"", b"junk", msgspec.msgpack.encode({"code": 1})])
def test_a_broken_snapshot_is_ignored(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scheduler.snapshot").write_bytes(content)
    assert _snapshots(tmp_path).load(STREAM) is None


def test_a_snapshot_that_is_written_behind_is_of_the_moment_it_was_asked_for(tmp_path: Path) -> None:
    state, snapshots = State(), _snapshots(tmp_path)
    assert snapshots.save_behind(STREAM, 9, Memory(state=state, last=1))
    state.freed_seq[AgentId("later")] = 7
    snapshots.save(STREAM, 10, Memory(state=state, last=2))  # waits for the one before
    found = snapshots.load(STREAM)
    assert found is not None and (found[0], found[1].last) == (10, 2)
    assert snapshots.save_behind(STREAM, 11, Memory(state=State()))
    while not snapshots.save_behind(STREAM, 12, Memory(state=State())):
        pass  # not before the one that is being written is there
    assert snapshots.load(STREAM) is not None


def test_without_a_directory_nothing_is_kept() -> None:
    _snapshots(None).save(STREAM, 9, Memory(state=State()))
    assert _snapshots(None).load(STREAM) is None


def test_a_disk_that_refuses_does_not_stop_the_service(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _snapshots(tmp_path / "file").save(STREAM, 9, Memory(state=State()))


def test_the_code_version_is_the_sources(tmp_path: Path) -> None:
    assert code_version(("services.scheduler",)) == code_version(("services.scheduler",))
    assert code_version(("services.scheduler",)) != code_version(("services.scheduler", "shared"))


def test_the_type_of_an_empty_searcher_state(tmp_path: Path) -> None:
    searcher_snapshots(tmp_path, "s").save(STREAM, 1, Memory(state=SearcherState()))
    assert searcher_snapshots(tmp_path, "s").load(STREAM) == (1, Memory(state=SearcherState()))

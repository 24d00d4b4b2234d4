"""When the log is sealed: histories."""

from datetime import timedelta

from services.tracker.seals import Rhythm, Sealing
from shared.audit.seal import decode_seal, head_of, is_signed
from shared.audit.verify import SEAL_SUBJECT
from shared.events import AuditSealed
from tests.audit.sealed import MemoryLog
from tests.shared.samples import SAMPLES

MINUTE = timedelta(minutes=1)


def seals(log: MemoryLog) -> list[AuditSealed]:
    return [decode_seal(message.body) for message in log.messages if message.subject == SEAL_SUBJECT]


def test_a_seal_comes_after_so_many_events_and_covers_them() -> None:
    log = MemoryLog(rhythm=Rhythm(max_events=5))
    log.tell(9)
    assert [(seal.first, seal.last) for seal in seals(log)] == [(1, 5), (6, 10)]
    assert all(is_signed(head_of(seal)) for seal in seals(log))


def test_a_seal_comes_when_the_oldest_event_has_waited() -> None:
    log = MemoryLog(rhythm=Rhythm(max_events=100, max_wait=MINUTE))
    log.tell(2)
    assert not log.seal(late=timedelta(seconds=50))
    assert log.seal(late=MINUTE)
    assert [(seal.first, seal.last) for seal in seals(log)] == [(1, 2)]


def test_a_log_in_which_only_seals_are_new_is_left_alone() -> None:
    log = MemoryLog(rhythm=Rhythm(max_events=2))
    log.tell(2)
    assert len(seals(log)) == 1
    assert not log.seal(late=1000 * MINUTE)
    log.say(SAMPLES[1])
    assert log.seal(late=MINUTE)
    assert (seals(log)[1].first, seals(log)[1].last) == (3, 4)


def test_a_long_backlog_is_sealed_in_parts() -> None:
    log = MemoryLog(rhythm=Rhythm(max_events=4))
    for number in range(10):
        log.say(SAMPLES[1], number)
    while log.seal():
        pass
    assert [(seal.first, seal.last) for seal in seals(log)] == [(1, 4), (5, 8), (9, 12)]


def test_sealing_goes_on_from_the_newest_seal_as_if_it_had_never_stopped() -> None:
    log = MemoryLog()
    log.tell(23)
    newest = [message for message in log.messages if message.subject == SEAL_SUBJECT][-1]
    resumed = Sealing.after(newest.seq, decode_seal(newest.body))
    for message in log.messages[resumed.position :]:
        resumed.evolve(message)
    assert resumed.before.root() == log.sealing.before.root()
    assert (resumed.chain, resumed.leaves) == (log.sealing.chain, log.sealing.leaves)
    assert (resumed.sealed, resumed.last_seal) == (log.sealing.sealed, newest.seq)


def test_another_instances_seal_counts_as_our_own() -> None:
    log, other = MemoryLog(), Sealing()
    log.tell(14)
    for message in log.messages:
        other.evolve(message)
    assert (other.sealed, other.chain) == (log.sealing.sealed, log.sealing.chain)
    assert not other.due(log.now, log.rhythm)


def test_a_message_that_the_broker_lost_keeps_its_place_in_the_tree() -> None:
    log, sealing = MemoryLog(), Sealing()
    log.tell(4)
    for message in log.messages:
        if message.seq != 2:
            sealing.evolve(message)
    assert sealing.position == 4
    assert sealing.leaves[2] == log.sealing.leaves[2]

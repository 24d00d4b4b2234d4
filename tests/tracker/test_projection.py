"""Events to statements: pure."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.tracker import rows, trials
from services.tracker.projection import statements
from services.tracker.service import MAX_BATCH_BYTES, in_batches
from services.tracker.statement import At, Statement, in_waves
from shared.events import CATALOGUE, ExperimentCanceled, ExperimentPaused, ExperimentResumed
from shared.ids import ExperimentId
from shared.log import Message
from tests.shared.samples import SAMPLES
from tests.tracker import story

AT = At(7, datetime(2026, 1, 1, tzinfo=UTC))
ACCESS = {"UserCreated", "UserDisabled", "UserEnabled", "PasswordChanged", "RoleGranted", "RoleRevoked"}
ACCESS |= {"TokenIssued", "TokenRevoked", "AgentInvited", "AgentAdmitted"}  # the gateway's to know
ACCESS |= {"WebhookCreated", "WebhookDeleted", "WebhookDied", "WebhookReplayed"}  # it posts them itself
NOT_SHOWN = ACCESS | {
    "AgentLeaving",
    "FinalMetricPredicted",
    "AuditSealed",
    "LeaderElected",
    "RendezvousOpened",
    "CheckpointShardUploaded",
    "GangMemberExited",
}
KEYS = st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True).map(tuple)
BATCHES = st.lists(st.tuples(st.sampled_from(["A", "B", "C"]), KEYS))


def test_every_event_type_becomes_rows_or_is_known_not_to() -> None:
    events = {type(event).__name__: event for event in (*SAMPLES, story.submitted())}
    assert events.keys() == CATALOGUE.keys()
    in_memory = {event_type.__name__ for event_type in trials.EVENTS}
    silent = {name for name, event in events.items() if name not in in_memory and not statements(event, AT)}
    assert silent == NOT_SHOWN


@given(BATCHES)
def test_waves_keep_the_order_of_statements_that_share_a_key(batch: list[tuple[str, tuple[str, ...]]]) -> None:
    numbered = [Statement(sql, (number,), keys) for number, (sql, keys) in enumerate(batch)]
    order = [args[0] for _, group in in_waves(numbered) for args in group]
    assert sorted(map(int, map(str, order))) == list(range(len(batch)))
    for key in "abc":
        sharing = [number for number in order if key in batch[int(str(number))][1]]
        assert sharing == sorted(sharing, key=lambda number: int(str(number)))


def test_many_experiments_take_few_round_trips() -> None:
    names = [ExperimentId(f"experiment{n}") for n in range(100)]
    moves = (ExperimentPaused, ExperimentResumed, ExperimentCanceled)
    lives = [[story.submitted(name), *(move(experiment_id=name) for move in moves)] for name in names]
    batch = [statement for life in lives for event in life for statement in statements(event, AT)]
    assert len(batch) == 400 and len(list(in_waves(batch))) == 3  # to pause and to resume is one statement


def test_text_that_postgres_cannot_hold_is_mended() -> None:
    assert rows.text("a\0b") == "a\ufffdb"
    assert rows.json({"k\0": ["\0", 1, None]}) == '{"k\ufffd":["\ufffd",1,null]}'


def test_the_number_of_trials_follows_from_the_config() -> None:
    searcher = {"metric": "loss"}
    grid = {
        "entrypoint": "train.py",
        "hyperparameters": {"a": {"type": "categorical", "vals": [1, 2, 3]}},
        "searcher": searcher | {"name": "grid"},
    }
    assert rows.num_trials({"searcher": searcher | {"name": "single"}}) == 1
    assert rows.num_trials({"searcher": searcher | {"name": "bayesian", "max_trials": 12}}) == 12
    assert rows.num_trials(grid) == 3
    hyperband = searcher | {"name": "hyperband", "max_length": {"batches": 81}, "divisor": 3.0}
    assert rows.num_trials({"entrypoint": "train.py", "searcher": hyperband}) == 143


def test_a_batch_has_neither_too_many_messages_nor_too_many_bytes() -> None:
    sizes = [1] * 5_000 + [MAX_BATCH_BYTES // 2] * 3 + [2 * MAX_BATCH_BYTES, 1]
    messages = [
        Message(seq=number, subject="metrics.a1.t", body=b"x" * size, stored_ns=0) for number, size in enumerate(sizes)
    ]
    batches = list(in_batches(messages))
    assert [message for batch in batches for message in batch] == messages
    assert [len(batch) for batch in batches] == [2_000, 2_000, 1_001, 2, 1, 1]
    assert list(in_batches([])) == []

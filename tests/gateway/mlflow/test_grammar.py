"""Search filters: parsed and turned into SQL; pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.filters import Parameters
from services.gateway.mlflow.grammar import Condition, Kind, Order, Subject, parse_filter, parse_order
from services.gateway.mlflow.reading import EXPERIMENTS, RUNS
from services.gateway.mlflow.search import order_by, where
from shared.errors import Rejected

QUOTED = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
KEYS = QUOTED.filter(lambda text: "`" not in text)


def condition(kind: Kind, key: str, operator: str, value: object) -> Condition:
    return Condition(subject=Subject(kind, key), operator=operator, value=value)  # type: ignore[arg-type] # tests' own


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("metrics.accuracy > 0.9", (condition(Kind.METRIC, "accuracy", ">", 0.9),)),
        ("metric.`val loss` <= -1e-3", (condition(Kind.METRIC, "val loss", "<=", -0.001),)),
        ("params.\"model-type\" ILIKE 'res%'", (condition(Kind.PARAM, "model-type", "ILIKE", "res%"),)),
        ("tags.mlflow.source.type != 'JOB'", (condition(Kind.TAG, "mlflow.source.type", "<>", "JOB"),)),
        ("status in ('FAILED', \"KILLED\")", (condition(Kind.ATTRIBUTE, "status", "IN", ("FAILED", "KILLED")),)),
        ("attributes.run_id NOT IN ('a')", (condition(Kind.ATTRIBUTE, "run_id", "NOT IN", ("a",)),)),
        ("params.lr is null", (condition(Kind.PARAM, "lr", "IS NULL", None),)),
        ("params.lr IS NOT NULL", (condition(Kind.PARAM, "lr", "IS NOT NULL", None),)),
        ("datasets.name = 'mnist'", (condition(Kind.DATASET, "name", "=", "mnist"),)),
        (
            "start_time >= 1664067852747 AND tags.a = 'it\\'s'",
            (condition(Kind.ATTRIBUTE, "start_time", ">=", 1664067852747.0), condition(Kind.TAG, "a", "=", "it's")),
        ),
    ],
)
def test_a_filter_is_parsed(text: str, expected: tuple[Condition, ...]) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    "text",
    ["metrics.a", "metrics.a >", "a.b.c = 1", "x = 1 OR y = 2", "metrics.a ~ 1", "status in ()", "status in (1)",
     "params.a NOT 'x'", "params.a = 'x' params.b = 'y'", "params.a = b", "'a' = 'b'", "params. = 'a'",
     "params.a = 'x"],
)  # fmt: skip
def test_a_mistake_is_shown_where_it_is(text: str) -> None:
    with pytest.raises(Rejected, match="character"):
        parse_filter(text)


@given(KEYS, QUOTED)
def test_whatever_stands_in_quotes_is_a_parameter_and_never_sql(key: str, value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    bound = Parameters()
    sql = where(RUNS, parse_filter(f"params.`{key}` LIKE '{escaped}'"), bound)
    assert sql == "true AND (r.params ->> $1::text) LIKE $2::text" and bound.values == [key, value]


@pytest.mark.parametrize(
    "text",
    ["metrics.a = 'x'", "metrics.a LIKE 'x'", "params.a = 1", "params.a > 'x'", "start_time = 'x'", "name = 'x'",
     "datasets.colour = 'x'", "metrics.a IS NULL"],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_with_what_can(text: str) -> None:
    with pytest.raises(Rejected) as refusal:
        where(RUNS, parse_filter(text), Parameters())
    assert refusal.value.problems


def test_an_experiment_has_no_metrics() -> None:
    with pytest.raises(Rejected, match="name"):
        where(EXPERIMENTS, parse_filter("metrics.a > 1"), Parameters())


def test_an_order_puts_what_has_no_value_last() -> None:
    assert parse_order("metrics.loss") == Order(Subject(Kind.METRIC, "loss"), descending=False)
    bound = Parameters()
    orders = [parse_order("params.lr DESC"), parse_order("attributes.start_time ASC")]
    sql = order_by(RUNS, orders, bound, "r.id")
    assert sql.startswith("(r.params ->> $1::text) DESC NULLS LAST, (extract(") and sql.endswith("ASC NULLS LAST, r.id")
    with pytest.raises(Rejected, match="neither"):
        parse_order("metrics.loss UP")

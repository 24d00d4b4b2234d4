"""The grammar of filter and sort: pure, and against a real database."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import filters, paging
from services.gateway.filters import Column, Kind, Parameters
from services.gateway.lists import EXPERIMENTS, TRIALS
from shared.errors import Rejected
from tests.gateway.conftest import CONFIG, Api
from tests.tracker import story


def mistakes(text: str) -> list[str]:
    with pytest.raises(Rejected) as error:
        filters.where(text, EXPERIMENTS, Parameters())
    assert error.value.status == 400
    return [problem.message for problem in error.value.problems]


def sql(text: str) -> tuple[str, list[object]]:
    parameters = Parameters()
    return filters.where(text, EXPERIMENTS, parameters), parameters.values


def test_values_are_parameters_and_never_text_of_the_statement() -> None:
    assert sql("state = FAILED") == ("e.state = $1::text", ["FAILED"])
    assert sql('name = "a\\" OR 1=1 --"') == ("e.name = $1::text", ['a" OR 1=1 --'])
    assert sql("label = x") == ("e.labels @> ARRAY[$1::text]", ["x"])
    assert sql("owner = null") == ("e.owner IS NULL", [])
    condition, values = sql("hyperparameters.a'b.c > 2")
    assert "a'b" not in condition and values == [["a'b", "c"], 2]


def test_and_binds_more_than_or_and_brackets_more_than_both() -> None:
    assert sql("id = a or id = b and id = c")[0] == "(e.id = $1::text OR (e.id = $2::text AND e.id = $3::text))"
    assert sql("(id = a or id = b) and id = c")[0] == "((e.id = $1::text OR e.id = $2::text) AND e.id = $3::text)"
    assert sql("not id in (a, b)")[0] == "COALESCE(NOT (e.id = $1::text OR e.id = $2::text), true)"


def test_every_mistake_that_can_be_told_is_told() -> None:
    assert len(mistakes("nme = x and priority > high and submitted_at < 2026 and archived = maybe")) == 4
    assert mistakes("name") == ["ends where an operator should stand"]
    assert mistakes("name = ") == ["ends where a value should stand"]
    assert mistakes("(name = x") == ["')' is missing after '( name = x'"]
    assert mistakes("name = x name = y") == ["'name' was not expected here"]
    assert "nested deeper" in mistakes("(" * 100 + "name = x")[0]
    assert "more than 50" in mistakes(" or ".join(["id = x"] * 51))[0]
    assert mistakes("label < x") == ["label: labels are compared with = and !=, not with <"]


def test_what_no_column_can_have_is_a_mistake() -> None:
    for text in (
        "priority = " + "9" * 400,
        "priority = -" + "9" * 400,
        "metric > 1e400",
        'submitted_at > "0001-01-01T00:00:00+14:00"',
        'submitted_at > "9999-12-31T23:59:59-14:00"',
        'name = "a\\u0000"',
    ):
        assert len(mistakes(text)) == 1, text
    assert sql("submitted_at > 2026-01-01T01:00:00+01:00")[1] == [datetime(2026, 1, 1, tzinfo=UTC)]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_whatever_is_written_is_a_condition_or_a_refusal(text: str) -> None:
    parameters = Parameters()
    with contextlib.suppress(Rejected):
        condition = filters.where(text, TRIALS, parameters)
        assert all(f"${number}::" in condition for number in range(1, len(parameters.values) + 1))


KEYS = st.lists(st.tuples(st.sampled_from(["index", "metric", "state"]), st.booleans()), max_size=3, unique_by=str)


@given(KEYS, st.integers(0, 2**62))
def test_a_cursor_is_of_its_own_order_only(keys: list[tuple[str, bool]], last: int) -> None:
    text = ",".join(f"{'-' if is_descending else ''}{name}" for name, is_descending in keys)
    unique = Column(sql="t.index", kind=Kind.NUMBER)
    order = paging.order(text, TRIALS, Parameters(), unique=unique, descending=False)
    row = [*({"index": 1, "metric": None, "state": "RUNNING"}[name] for name, _ in keys), last]
    order.after(order.next_page(row), Parameters())
    other = paging.order("step", TRIALS, Parameters(), unique=unique, descending=False)
    with pytest.raises(Rejected):
        other.after(order.next_page(row), Parameters())


async def test_lists_are_filtered_sorted_and_paged(api: Api) -> None:
    seq = await story.tell(api.log, story.whole_search())
    other = (await api.submit(CONFIG + "labels: [x]\nworkspace: vision\n"))["id"]
    ours = story.EXPERIMENT

    async def found(path: str = "experiments", **query: Any) -> list[str]:
        return [item["id"] for item in (await api.get(f"/api/v1/{path}", min_seq=seq, **query))["items"]]

    assert await found(filter="state = COMPLETED") == [ours]
    assert await found(filter="metric >= 0.9 and hyperparameters.lr = 0.1") == [ours]
    assert await found(filter="metric = null") == [other] == await found(filter="label = x")
    assert await found(filter="not (workspace = vision) or label = x", sort="name,-submitted_at") == [other, ours]
    assert await found(sort="metric") == [ours, other] == await found(sort="-metric")  # what is null comes last
    assert await found(filter='name ~ "DIG" and submitted_at > 2020-01-01T00:00:00Z') == [other, ours]
    assert await found(filter="ended_at < 2020-01-01T00:00:00Z") == []
    trials = f"experiments/{ours}/trials"
    assert await found(trials, sort="-metric") == [
        story.trial(1),
        story.trial(2),
    ]
    assert await found(trials, filter="hyperparameters.lr > 0.15") == [story.trial(2)]
    assert await found(trials, filter="hyperparameters.lr = word") == []
    checkpoints = f"experiments/{ours}/checkpoints"
    everything = await found(checkpoints, sort="-step,size_bytes", limit=500)
    page, seen = await api.get(f"/api/v1/{checkpoints}", sort="-step,size_bytes", limit=1), list[str]()
    while True:
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        page = await api.get(f"/api/v1/{checkpoints}", sort="-step,size_bytes", limit=1, cursor=page["next_cursor"])
    assert seen == everything and len(seen) == 4
    answer = await api.get("/api/v1/experiments", 400, filter="nme = x", sort="colour")
    assert answer["errors"][0]["path"] == "filter"
    for field in ("label", "notes", "hyperparameters.lr"):
        assert (await api.get("/api/v1/experiments", 400, sort=field))["errors"][0]["path"] == "sort"
    await api.get(f"/api/v1/{trials}", 400, cursor="AAAA")

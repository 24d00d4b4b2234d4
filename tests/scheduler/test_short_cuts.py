"""A pass that looks only at who matters comes to the same end as one that looks at everyone, for every policy."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.books import Books
from services.scheduler.policies import look
from services.scheduler.pool import Pool
from tests.scheduler.test_policies import pools


@settings(max_examples=400, deadline=None)
@given(pools())
def test_whom_nobody_asked_about_may_be_passed_over(pool: Pool) -> None:
    plain, quick = look(Books.of(pool), asked=None, is_plain=True), look(Books.of(pool), asked=())
    assert (quick.allocate, quick.release) == (plain.allocate, plain.release)
    assert not quick.waiting


@settings(max_examples=400, deadline=None)
@given(pools(), st.data())
def test_a_reason_is_the_same_whoever_else_is_asked_about(pool: Pool, data: st.DataObject) -> None:
    plain = look(Books.of(pool), asked=None, is_plain=True)
    asked = set(data.draw(st.lists(st.sampled_from([request.trial_id for request in pool.requests]))))
    some, everyone = look(Books.of(pool), asked=asked), look(Books.of(pool), asked=None)
    assert everyone == plain
    assert some.waiting == {trial_id: why for trial_id, why in plain.waiting.items() if trial_id in asked}
    assert (some.allocate, some.release) == (plain.allocate, plain.release)


@settings(max_examples=200, deadline=None)
@given(pools())
def test_a_pass_leaves_the_books_as_they_were(pool: Pool) -> None:
    books = Books.of(pool)
    first = look(books, asked=None)
    assert look(books, asked=None) == first

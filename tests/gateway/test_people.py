"""Who may do what: pure rules over the users' events."""

import contextlib
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.gateway.access import decide
from services.gateway.access.codes import LASTS, MAX_CODES, Codes
from services.gateway.access.patience import MAX_FAILURES, Patience
from services.gateway.access.people import People, Principal, evolve, principal_of, root
from services.gateway.access.permit import OTHERWISE, RULES, rule_of
from services.gateway.routes import ROUTES
from shared.errors import Rejected, Unavailable
from shared.events import (
    Event,
    PasswordChanged,
    Role,
    RoleGranted,
    TokenIssued,
    TokenRevoked,
    UserCreated,
    UserDisabled,
    UserEnabled,
)
from shared.ids import TokenId, UserId
from tests.support.history import BEGIN, History

ADA, TOKEN = UserId("ada"), TokenId("0123456789ab")
NOW = BEGIN + timedelta(days=1)
CREATED = UserCreated(user_id=ADA, full_name="Ada")


def people(*events: Event) -> People:
    history = History(People(), evolve, lambda _: None)
    history.fold(events)
    return history.state


def issued(role: Role = Role.ADMIN, expires_at: datetime | None = None) -> TokenIssued:
    return TokenIssued(user_id=ADA, token_id=TOKEN, label="t", role=role, expires_at=expires_at)


def granted(role: Role, workspace: str | None = None) -> RoleGranted:
    return RoleGranted(user_id=ADA, role=role, workspace=workspace)


def test_a_token_speaks_for_its_user_until_it_expires_is_revoked_or_the_user_is_disabled() -> None:
    known = [CREATED, granted(Role.EDITOR), issued(expires_at=NOW + timedelta(hours=1))]
    assert principal_of(people(*known), TOKEN, NOW) is not None
    assert principal_of(people(*known), TOKEN, NOW + timedelta(hours=1)) is None
    assert principal_of(people(*known, TokenRevoked(user_id=ADA, token_id=TOKEN)), TOKEN, NOW) is None
    assert principal_of(people(*known, UserDisabled(user_id=ADA)), TOKEN, NOW) is None
    assert principal_of(people(*known, UserDisabled(user_id=ADA), UserEnabled(user_id=ADA)), TOKEN, NOW) is not None
    assert principal_of(people(CREATED), TOKEN, NOW) is None


def test_a_role_counts_where_it_is_held_and_the_higher_of_two_counts() -> None:
    asking = Principal(user_id=ADA, grants={None: Role.VIEWER, "vision": Role.EDITOR})
    assert asking.may(Role.VIEWER, "speech") and asking.may(Role.EDITOR, "vision")
    assert not asking.may(Role.EDITOR, "speech") and not asking.may(Role.EDITOR)
    assert asking.workspaces(Role.VIEWER) is None and asking.workspaces(Role.EDITOR) == frozenset({"vision"})


@given(
    st.dictionaries(st.sampled_from([None, "a", "b"]), st.sampled_from(Role)),
    st.sampled_from(Role),
    st.sampled_from(Role),
    st.sampled_from([None, "a", "b", "c"]),
)
def test_a_token_never_allows_more_than_its_user_or_itself(
    grants: dict[str | None, Role], at_most: Role, needed: Role, where: str | None
) -> None:
    order = list(Role)
    limited = Principal(user_id=ADA, grants=grants, at_most=at_most)
    if limited.may(needed, where):
        assert Principal(user_id=ADA, grants=grants).may(needed, where)
        assert order.index(at_most) >= order.index(needed)


def test_what_makes_no_sense_is_refused() -> None:
    known = people(CREATED, UserCreated(user_id=UserId("bot"), full_name="", is_service=True))
    for refused in (
        lambda: decide.create(known, "ada", "", is_service=False),
        lambda: decide.create(known, "admin", "", is_service=False),
        lambda: decide.create(known, "No Name", "", is_service=False),
        lambda: decide.grant(known, "nobody", Role.VIEWER, None),
        lambda: decide.revoke(known, "ada", None),
        lambda: decide.enable(known, "ada", enabled=True),
        lambda: decide.change_password(known, "ada", "short"),
        lambda: decide.change_password(known, "bot", "long enough for anybody"),
        lambda: decide.revoke_token(known, "unknown"),
    ):
        with pytest.raises(Rejected):
            refused()


def test_a_limited_token_cannot_issue_a_mightier_one() -> None:
    viewer = Principal(user_id=ADA, grants={None: Role.ADMIN}, at_most=Role.VIEWER)
    with pytest.raises(Rejected, match="more than the one that asks"):
        issue(people(CREATED), viewer, "ada", lasts=None)
    event = issue(people(CREATED), ada(), "ada", lasts=timedelta(days=1))
    assert event.expires_at == NOW + timedelta(days=1)


def test_a_token_of_ones_own_ends_with_the_one_that_asks_for_it() -> None:
    end = NOW + timedelta(hours=1)
    known = people(CREATED, issued(expires_at=end))
    for lasts in (None, timedelta(days=3650), timedelta(hours=1)):
        assert issue(known, ada(TOKEN), "ada", lasts=lasts).expires_at == end
    assert issue(known, ada(TOKEN), "ada", lasts=timedelta(minutes=1)).expires_at == NOW + timedelta(minutes=1)
    assert issue(known, ada(), "ada", lasts=None).expires_at is None


def test_a_token_for_others_is_a_service_accounts_only() -> None:
    bot = UserCreated(user_id=UserId("bot"), full_name="", is_service=True)
    known = people(CREATED, bot, UserCreated(user_id=UserId("bob"), full_name=""))
    for person in ("bob", "admin"):
        with pytest.raises(Rejected, match="service account"):
            issue(known, ada(), person, lasts=None)
    assert issue(known, ada(), "bot", lasts=None).user_id == "bot"
    with pytest.raises(Rejected) as refused:
        issue(known, ada(), "nobody", lasts=None)
    assert refused.value.status == 404


def test_a_new_password_ends_the_logins_but_for_the_one_that_asked_and_no_token_made_on_purpose() -> None:
    logins = [login(f"{number:012x}") for number in range(3)]
    known = people(CREATED, *logins, issued(), PasswordChanged(user_id=ADA, kept_token_id=logins[1].token_id))
    assert set(known.tokens) == {TOKEN, logins[1].token_id}
    assert known.over == {logins[0].token_id, logins[2].token_id}
    assert set(people(CREATED, *logins, PasswordChanged(user_id=ADA)).tokens) == set()


def test_logins_are_no_tokens_and_of_too_many_the_oldest_ends() -> None:
    logins = [login(f"{number:012x}") for number in range(decide.MAX_LOGINS_EACH)]
    tokens = [replace(issued(), token_id=TokenId(f"f{number:011x}")) for number in range(decide.MAX_TOKENS_EACH - 1)]
    known = people(CREATED, *logins, *tokens)
    assert issue(known, ada(), "ada", lasts=None)
    assert decide.outlived(known, ADA, NOW) is None
    one_more = people(CREATED, *logins, *tokens, login("ffffffffffff"))
    ended = decide.outlived(one_more, ADA, NOW)
    assert ended == TokenRevoked(user_id=ADA, token_id=logins[0].token_id)
    with pytest.raises(Rejected, match="revoke one first"):
        issue(people(CREATED, *tokens, issued()), ada(), "ada", lasts=None)


def test_who_was_made_known_first_keeps_the_name() -> None:
    again = UserCreated(user_id=ADA, full_name="Eve", is_service=True)
    known = people(CREATED, granted(Role.EDITOR), again)
    assert known.users[ADA].full_name == "Ada" and known.users[ADA].grants == {None: Role.EDITOR}
    assert known.seqs[ADA] == 3, "what is decided next expects the newest event, whatever it said"


def test_a_token_that_expired_is_forgotten() -> None:
    known = people(CREATED, issued(expires_at=NOW), login("ffffffffffff"))
    known.forget_expired(NOW - timedelta(seconds=1))
    assert TOKEN in known.tokens
    known.forget_expired(NOW)
    assert set(known.tokens) == {"ffffffffffff"} and known.over == {TOKEN}


def ada(token_id: TokenId | None = None) -> Principal:
    return Principal(user_id=ADA, grants={None: Role.ADMIN}, token_id=token_id)


def login(token_id: str) -> TokenIssued:
    return replace(issued(), token_id=TokenId(token_id), is_login=True)


def issue(known: People, asking: Principal, name: str, *, lasts: timedelta | None) -> TokenIssued:
    fresh = TokenId("aaaaaaaaaaaa")
    return decide.issue(known, fresh, asking=asking, name=name, label="t", role=Role.EDITOR, lasts=lasts, now=NOW)


def test_a_code_works_once_and_not_for_long() -> None:
    codes = Codes()
    code, until = codes.new(root(), NOW)
    assert until == NOW + LASTS
    assert codes.use(code, NOW) == root() and codes.use(code, NOW) is None
    code, until = codes.new(root(), NOW)
    assert codes.use(code, until) is None
    for _ in range(MAX_CODES + 5):
        codes.new(root(), NOW)
    assert len(codes.known) == MAX_CODES


def test_guessing_a_password_has_to_wait() -> None:
    patience = Patience()
    with contextlib.ExitStack() as under_way:
        for _ in range(MAX_FAILURES):
            under_way.enter_context(patience.attempt("ada"))
        with pytest.raises(Rejected) as refused, patience.attempt("ada"):
            pass
        assert refused.value.status == 429
        with patience.attempt("bob"):
            pass
    with pytest.raises(Rejected), patience.attempt("ada"):
        pass
    patience.forget("ada")
    with patience.attempt("ada"):
        pass


def test_an_attempt_that_was_not_answered_is_none() -> None:
    patience = Patience()
    for _ in range(MAX_FAILURES + 1):
        with pytest.raises(Unavailable), patience.attempt("ada"):
            raise Unavailable("the broker does not answer")


def test_every_change_demands_more_than_looking_unless_it_is_about_oneself() -> None:
    assert {route.path for route in ROUTES if route.method != "GET" and rule_of(route).change is Role.VIEWER} == set()
    assert OTHERWISE.change is Role.ADMIN
    assert {name for name, rule in RULES.items() if rule.look is Role.ADMIN} == {"users", "webhooks"}

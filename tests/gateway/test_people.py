"""Who may do what: pure rules over the users' events."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.access import decide
from services.gateway.access.codes import LASTS, MAX_CODES, Codes
from services.gateway.access.patience import MAX_FAILURES, Patience
from services.gateway.access.people import People, Principal, evolve, principal_of, root
from services.gateway.access.permit import OTHERWISE, RULES, rule_of
from services.gateway.routes import ROUTES
from shared.errors import Rejected
from shared.events import Event, Role, RoleGranted, TokenIssued, TokenRevoked, UserCreated, UserDisabled, UserEnabled
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
    known, viewer = people(CREATED), Principal(user_id=ADA, grants={None: Role.ADMIN}, at_most=Role.VIEWER)
    with pytest.raises(Rejected, match="more than the one that asks"):
        decide.issue(known, viewer, "ada", label="t", role=Role.EDITOR, lasts=None, now=NOW)
    event = decide.issue(known, root(), "ada", label="t", role=Role.EDITOR, lasts=timedelta(days=1), now=NOW)
    assert event.expires_at == NOW + timedelta(days=1)


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
    for _ in range(MAX_FAILURES):
        patience.check("ada")
        patience.note_failure("ada")
    with pytest.raises(Rejected) as refused:
        patience.check("ada")
    assert refused.value.status == 429
    patience.check("bob")
    patience.forget("ada")
    patience.check("ada")


def test_every_change_demands_more_than_looking_unless_it_is_about_oneself() -> None:
    assert {route.path for route in ROUTES if route.method != "GET" and rule_of(route).change is Role.VIEWER} == set()
    assert OTHERWISE.change is Role.ADMIN
    assert {name for name, rule in RULES.items() if rule.look is Role.ADMIN} == {"users", "webhooks"}

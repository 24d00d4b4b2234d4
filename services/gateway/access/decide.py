"""What an administrator may do about users and tokens: pure rules over the people that the log tells of."""

from datetime import datetime, timedelta
from http import HTTPStatus

from services.gateway.access.people import ROOT, People, Principal, Token, User
from services.gateway.problems import not_found
from shared import ids
from shared.errors import Problem, Rejected
from shared.events import (
    PasswordChanged,
    Role,
    RoleGranted,
    RoleRevoked,
    TokenIssued,
    TokenRevoked,
    UserCreated,
    UserDisabled,
    UserEnabled,
)
from shared.ids import TokenId, UserId

MAX_USERS = 10_000
MAX_TOKENS_EACH = 100  # logins aside
MAX_LOGINS_EACH = 50  # the oldest ends when there is one more
MIN_PASSWORD = 10
MAX_PASSWORD = 200


def create(people: People, name: str, full_name: str, *, is_service: bool) -> UserCreated:
    """Return the event that makes a user known. Raises Rejected when the name cannot be used."""
    if not ids.is_token(name):
        mistake = Problem("name", f"{name[:100]!r} is no user name", "use lower-case letters, digits and dashes")
        raise Rejected("the user cannot be created", (mistake,))
    if name == ROOT or UserId(name) in people.users:
        raise Rejected(f"there is a user {name} already", status=HTTPStatus.CONFLICT)
    if len(people.users) >= MAX_USERS:
        raise Rejected(f"there are {MAX_USERS} users, and no more can be created", status=HTTPStatus.CONFLICT)
    return UserCreated(user_id=UserId(name), full_name=full_name, is_service=is_service)


def enable(people: People, name: str, *, enabled: bool) -> UserEnabled | UserDisabled:
    """Return the event that lets a user in or keeps it out. Raises Rejected when that is so already."""
    user = find(people, name)
    if user.enabled == enabled:
        raise Rejected(f"user {name} is {'enabled' if enabled else 'disabled'} already", status=HTTPStatus.CONFLICT)
    return UserEnabled(user_id=user.user_id) if enabled else UserDisabled(user_id=user.user_id)


def grant(people: People, name: str, role: Role, workspace: str | None) -> RoleGranted:
    """Return the event that gives a role."""
    return RoleGranted(user_id=find(people, name).user_id, role=role, workspace=workspace)


def revoke(people: People, name: str, workspace: str | None) -> RoleRevoked:
    """Return the event that takes a role away. Raises Rejected when there is none."""
    user = find(people, name)
    if workspace not in user.grants:
        where = f"in workspace {workspace}" if workspace else "everywhere"
        raise Rejected(f"user {name} has no role {where}", status=HTTPStatus.CONFLICT)
    return RoleRevoked(user_id=user.user_id, workspace=workspace)


def change_password(people: People, name: str, password: str, kept: TokenId | None = None) -> PasswordChanged:
    """Return the event of a new password, which ends all logins but the `kept` one.

    Raises Rejected for a service account, and a password that is too short.
    """
    user = find(people, name)
    if user.is_service:
        raise Rejected(f"{name} is a service account: it has tokens, and no password", status=HTTPStatus.CONFLICT)
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        message = f"has {len(password)} characters"
        mistake = Problem("password", message, f"use {MIN_PASSWORD} to {MAX_PASSWORD}; a few words do")
        raise Rejected("the password cannot be used", (mistake,))
    return PasswordChanged(user_id=user.user_id, kept_token_id=kept)


def issue(
    people: People,
    token_id: TokenId,
    *,
    asking: Principal,
    name: str,
    label: str,
    role: Role,
    lasts: timedelta | None,
    now: datetime,
) -> TokenIssued:
    """Return the event of a new token: for oneself, or a service account.

    One's own ends with the token that asks at the latest. Raises Rejected when it would allow more than that, is for
    another person, or the user has too many.
    """
    is_own = name == asking.user_id
    if not is_own and (name == ROOT or not find(people, name).is_service):
        mistake = Problem("user", f"{name} is a person", "who logs in and issues their own; create a service account")
        raise Rejected("a token for others is a service account's", (mistake,))
    valid = _valid(people, UserId(name), now, are_logins=False)
    if len(valid) >= MAX_TOKENS_EACH:
        raise Rejected(f"user {name} has {MAX_TOKENS_EACH} tokens; revoke one first", status=HTTPStatus.CONFLICT)
    if list(Role).index(role) > list(Role).index(asking.at_most):
        mistake = Problem("role", f"the token that asks is itself limited to {asking.at_most}", f"{asking.at_most}")
        raise Rejected("the token would allow more than the one that asks for it", (mistake,))
    expires_at = None if lasts is None else now + lasts
    if is_own:
        expires_at = min((end for end in (expires_at, _end(people, asking)) if end is not None), default=None)
    return TokenIssued(user_id=UserId(name), token_id=token_id, label=label, role=role, expires_at=expires_at)


def log_in(
    people: People, token_id: TokenId, *, known: Principal, label: str, lasts: timedelta, now: datetime
) -> TokenIssued:
    """Return the event of a login: it ends with the token that drew its code at the latest."""
    end = _end(people, known)
    expires_at = now + lasts if end is None else min(now + lasts, end)
    return TokenIssued(
        user_id=known.user_id,
        token_id=token_id,
        label=label,
        role=known.at_most,
        expires_at=expires_at,
        is_login=True,
    )


def outlived(people: People, user_id: UserId, now: datetime) -> TokenRevoked | None:
    """Return the event that ends a user's oldest login, when there are too many."""
    logins = _valid(people, user_id, now, are_logins=True)
    if len(logins) <= MAX_LOGINS_EACH:
        return None
    return TokenRevoked(user_id=user_id, token_id=min(logins, key=lambda login: login.issued_at).token_id)


def _valid(people: People, user_id: UserId, now: datetime, *, are_logins: bool) -> list[Token]:
    own = [one for one in people.tokens.values() if one.user_id == user_id and one.is_login == are_logins]
    return [token for token in own if token.expires_at is None or token.expires_at > now]


def _end(people: People, asking: Principal) -> datetime | None:
    """Return when the token that asks ends; None: never, or it is none."""
    token = people.tokens.get(asking.token_id) if asking.token_id else None
    return token.expires_at if token else None


def revoke_token(people: People, token_id: str) -> TokenRevoked:
    """Return the event that ends a token. Raises Rejected (404) when there is none such."""
    token = find_token(people, token_id)
    return TokenRevoked(user_id=token.user_id, token_id=token.token_id)


def find(people: People, name: str) -> User:
    """Return a user. Raises Rejected (404)."""
    user = people.users.get(UserId(name))
    if user is None:
        raise not_found("user", name[:100])
    return user


def find_token(people: People, token_id: str) -> Token:
    """Return a token. Raises Rejected (404)."""
    token = people.tokens.get(TokenId(token_id))
    if token is None:
        raise not_found("token", token_id[:100])
    return token

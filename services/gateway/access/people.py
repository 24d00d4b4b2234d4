"""The users, their roles and their tokens: a fold of the log, without any secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import singledispatch

from shared.events import (
    Event,
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
from shared.events.user import UserEvent
from shared.ids import TokenId, UserId
from shared.log import Recorded

#: The user whose token the platform itself was started with: an administrator, and on no log.
ROOT = UserId("admin")

_RANK = {role: rank for rank, role in enumerate(Role)}

Grants = Mapping[str | None, Role]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user as the log tells it. `grants` maps a workspace, or None for everywhere, to the role there."""

    user_id: UserId
    full_name: str
    is_service: bool
    created_at: datetime
    enabled: bool = True
    grants: Grants = field(default_factory=dict)
    seq: int = 0  # of the newest event about it


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as the log tells it."""

    token_id: TokenId
    user_id: UserId
    label: str
    role: Role
    issued_at: datetime
    expires_at: datetime | None
    is_login: bool = False


@dataclass(slots=True)
class People:
    """Everybody who was ever made known, and the tokens that were not revoked.

    `seqs` are those of the newest event about each user: what a change decided on this state expects. `over` are the
    tokens whose hashes are to be forgotten.
    """

    users: dict[UserId, User] = field(default_factory=dict)
    tokens: dict[TokenId, Token] = field(default_factory=dict)
    seqs: dict[UserId, int] = field(default_factory=dict)
    over: set[TokenId] = field(default_factory=set)

    def end(self, token_id: TokenId) -> None:
        """A token opens nothing any more."""
        if self.tokens.pop(token_id, None) is not None:
            self.over.add(token_id)

    def forget_expired(self, now: datetime) -> None:
        """End the tokens whose time is over."""
        for token in list(self.tokens.values()):
            if token.expires_at is not None and token.expires_at <= now:
                self.end(token.token_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking, with which rights. `at_most` is what the token is limited to."""

    user_id: UserId
    grants: Grants
    at_most: Role = Role.ADMIN
    token_id: TokenId | None = None

    def may(self, needed: Role, workspace: str | None = None) -> bool:
        """Say whether this role is theirs in a workspace; with None, everywhere."""
        held = [role for where, role in self.grants.items() if where is None or where == workspace]
        return _RANK[self.at_most] >= _RANK[needed] and any(_RANK[role] >= _RANK[needed] for role in held)

    def workspaces(self, needed: Role) -> frozenset[str] | None:
        """Return the workspaces in which this role is theirs; None means all of them."""
        if self.may(needed):
            return None
        return frozenset(where for where in self.grants if where is not None and self.may(needed, where))


def root() -> Principal:
    """Return who holds the platform's own token."""
    return Principal(user_id=ROOT, grants={None: Role.ADMIN})


def principal_of(people: People, token_id: TokenId, now: datetime) -> Principal | None:
    """Return whom a token speaks for; None when it expired, was revoked, or its user is disabled."""
    token = people.tokens.get(token_id)
    user = people.users.get(token.user_id) if token else None
    if token is None or (token.expires_at is not None and token.expires_at <= now):
        return None
    if token.user_id == ROOT:
        return replace(root(), at_most=token.role, token_id=token_id)
    if user is None or not user.enabled:
        return None
    return Principal(user_id=user.user_id, grants=user.grants, at_most=token.role, token_id=token_id)


def made(event: UserCreated, at: datetime, seq: int) -> User:
    """Return a user as in the first moment."""
    return User(user_id=event.user_id, full_name=event.full_name, is_service=event.is_service, created_at=at, seq=seq)


def evolve(people: People, recorded: Recorded) -> None:
    """Fold one event."""
    event = recorded.event
    assert isinstance(event, UserEvent)
    people.seqs[event.user_id] = recorded.seq
    _fold(event, recorded, people)
    if user := people.users.get(event.user_id):
        people.users[event.user_id] = replace(user, seq=recorded.seq)


@singledispatch
def _fold(event: Event, recorded: Recorded, people: People) -> None:
    """Events that say nothing about who may do what."""


@_fold.register
def _(event: UserCreated, recorded: Recorded, people: People) -> None:
    if event.user_id in people.users:
        return  # who was made known first keeps the name, the roles and the tokens
    people.users[event.user_id] = made(event, recorded.envelope.time, recorded.seq)


@_fold.register(UserDisabled)
@_fold.register(UserEnabled)
def _(event: UserDisabled | UserEnabled, recorded: Recorded, people: People) -> None:
    if user := people.users.get(event.user_id):
        enabled = isinstance(event, UserEnabled)
        people.users[event.user_id] = replace(user, enabled=enabled)


@_fold.register
def _(event: RoleGranted, recorded: Recorded, people: People) -> None:
    if user := people.users.get(event.user_id):
        grants = {**user.grants, event.workspace: event.role}
        people.users[event.user_id] = replace(user, grants=grants)


@_fold.register
def _(event: RoleRevoked, recorded: Recorded, people: People) -> None:
    if user := people.users.get(event.user_id):
        grants = {where: role for where, role in user.grants.items() if where != event.workspace}
        people.users[event.user_id] = replace(user, grants=grants)


@_fold.register
def _(event: TokenIssued, recorded: Recorded, people: People) -> None:
    people.tokens[event.token_id] = Token(
        token_id=event.token_id,
        user_id=event.user_id,
        label=event.label,
        role=event.role,
        issued_at=recorded.envelope.time,
        expires_at=event.expires_at,
        is_login=event.is_login,
    )


@_fold.register
def _(event: TokenRevoked, recorded: Recorded, people: People) -> None:
    people.end(event.token_id)


@_fold.register
def _(event: PasswordChanged, recorded: Recorded, people: People) -> None:
    for token in list(people.tokens.values()):
        if token.user_id == event.user_id and token.is_login and token.token_id != event.kept_token_id:
            people.end(token.token_id)

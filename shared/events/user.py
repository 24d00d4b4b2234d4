"""Events of a user: who there is, what each may do, which tokens speak for them (gateway). No secret is among them."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from shared.events.event import Event
from shared.ids import TokenId, UserId


class Role(StrEnum):
    """What somebody may do; each may do all that those before it may."""

    VIEWER = "viewer"  # look
    EDITOR = "editor"  # submit experiments, and change them
    OPERATOR = "operator"  # run the cluster: agents, pools, the queue
    ADMIN = "admin"  # users, roles, limits


class UserEvent(Event, frozen=True, kw_only=True):
    """Common to all events of a user."""

    writer: ClassVar[str] = "gateway"
    aggregate: ClassVar[str] = "user"
    aggregate_field: ClassVar[str] = "user_id"

    user_id: UserId


class UserCreated(UserEvent, frozen=True, kw_only=True):
    """An administrator made a user known. A service account is a program's: it has tokens and no password."""

    full_name: str
    is_service: bool = False


class UserDisabled(UserEvent, frozen=True, kw_only=True):
    """A user may do nothing from here on, and none of the user's tokens opens anything."""


class UserEnabled(UserEvent, frozen=True, kw_only=True):
    """A disabled user has the former rights again."""


class PasswordChanged(UserEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A user's password is another one; its hash lies with the gateway's secrets, never on the log.

    The logins that were made with the former one end here, but for the one that asked for the change.
    """

    kept_token_id: TokenId | None = None


class RoleGranted(UserEvent, frozen=True, kw_only=True):
    """A user has this role in a workspace, or (no workspace) everywhere, in place of the former one there."""

    role: Role
    workspace: str | None = None


class RoleRevoked(UserEvent, frozen=True, kw_only=True):
    """A user has no role of its own in a workspace any more, or (no workspace) everywhere."""

    workspace: str | None = None


class TokenIssued(UserEvent, frozen=True, kw_only=True, omit_defaults=True):
    """A token speaks for a user until it expires, with at most this role.

    A login, of a browser or by `tm login`, is one too: it ends with the password that it was made with.
    """

    token_id: TokenId
    label: str
    role: Role
    expires_at: datetime | None = None
    is_login: bool = False


class TokenRevoked(UserEvent, frozen=True, kw_only=True):
    """A token opens nothing any more."""

    token_id: TokenId

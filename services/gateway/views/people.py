"""Users, what they may do, and their tokens."""

from datetime import datetime

from services.gateway.views.view import View
from shared.events import Role


class Granted(View, frozen=True, kw_only=True):
    """A role, in a workspace or (null) everywhere."""

    role: Role
    workspace: str | None


class Session(View, frozen=True, kw_only=True):
    """Who is asking; `at_most` is what the token is limited to. `token` is a program's new login, shown once."""

    user_id: str
    full_name: str
    grants: list[Granted]
    at_most: Role
    expires_at: datetime | None
    token: str | None = None


class LoginCode(View, frozen=True, kw_only=True):
    """A code that logs a browser in once."""

    code: str
    expires_at: datetime


class UserView(View, frozen=True, kw_only=True):
    """A user and what the user may do."""

    user_id: str
    full_name: str
    is_service: bool
    enabled: bool
    created_at: datetime
    grants: list[Granted]
    seq: int


class UserList(View, frozen=True, kw_only=True):
    """Users by name."""

    items: list[UserView]
    next_cursor: str | None


class TokenView(View, frozen=True, kw_only=True):
    """A token without its secret."""

    token_id: str
    user_id: str
    label: str
    role: Role
    issued_at: datetime
    expires_at: datetime | None


class TokenList(View, frozen=True, kw_only=True):
    """Tokens, oldest first."""

    items: list[TokenView]
    next_cursor: str | None


class NewToken(View, frozen=True, kw_only=True):
    """A token: shown this once."""

    token: str
    token_id: str
    user_id: str
    expires_at: datetime | None

"""Why a request failed (RFC 9457)."""

from services.gateway.views.view import View


class ErrorItem(View, frozen=True, kw_only=True):
    """One mistake: where it is, what is wrong, what to write instead."""

    path: str
    message: str
    suggestion: str | None = None


class Problem(View, frozen=True, kw_only=True):
    """Why a request failed (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: tuple[ErrorItem, ...] = ()

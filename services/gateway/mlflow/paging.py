"""Page tokens: where the next page begins, unreadable to clients so that none depends on it."""

import base64
import binascii
from http import HTTPStatus

from shared.errors import Problem, Rejected

MAX_START = 2**60  # beyond the end of everything


def start_of(token: str) -> int:
    """Return where a page begins. Raises Rejected (400)."""
    if not token:
        return 0
    try:
        return min(int.from_bytes(base64.b64decode(token, altchars=b"-_", validate=True)), MAX_START)
    except (ValueError, binascii.Error) as error:
        problem = Problem("page_token", "is none of ours", "use the next_page_token of the page before")
        raise Rejected("the page cannot be found", (problem,), status=HTTPStatus.BAD_REQUEST) from error


def token_of(start: int) -> str:
    """Return the token of the page that begins there."""
    return base64.urlsafe_b64encode(start.to_bytes(8)).decode()

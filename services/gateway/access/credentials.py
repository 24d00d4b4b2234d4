"""Tokens and passwords, of which the log tells and the bucket of secrets holds the hash: changed so that an answer is
true, whatever fails between the two."""

from collections.abc import Callable

from nats.aio.client import Client

from services.gateway import intents
from services.gateway.access.access import Access
from services.gateway.access.people import People
from shared import ids
from shared.events import PasswordChanged, TokenIssued
from shared.ids import TokenId, UserId


async def new_token(
    client: Client, access: Access, wish: Callable[[People, TokenId], TokenIssued], *, actor: UserId | None = None
) -> tuple[str, TokenIssued, int]:
    """Return a new token, its event and that one's sequence.

    The hash is kept first, so that a token of which the log tells opens something; one that was refused leaves none.
    Raises what `wish` does, Conflict and Unavailable.
    """
    token_id = ids.new_token_id()
    wish(access.people, token_id)
    token = await access.secrets.new_token(token_id)
    try:
        seq, event = await intents.change_user(client, access, lambda people: wish(people, token_id), actor=actor)
    except Exception:
        await access.secrets.forget_token(token_id)
        raise
    return token, event, seq


async def change_password(
    client: Client,
    access: Access,
    wish: Callable[[People], PasswordChanged],
    password: str,
    revision: int,
    known_seq: int | None = None,
) -> int:
    """Change a password in place of the one of a revision, of a user as of `known_seq`; return its event's sequence.

    The event is first: it ends the logins, which does no harm should the rest fail. Raises what `wish` does,
    Unavailable, and Conflict when somebody else changed the password: then that one counts.
    """
    user_id = wish(access.people).user_id
    hashed = await access.secrets.hashed(password)
    seq, _ = await intents.change_user(client, access, wish, known_seq=known_seq)
    await access.secrets.set_password(user_id, hashed, revision)
    return seq

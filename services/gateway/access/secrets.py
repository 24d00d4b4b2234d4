"""What must never be on the log: hashes of passwords and of tokens, in a bucket that only the gateway may open.

A password is kept as argon2id (RFC 9106). A token's secret has 256 random bits, so SHA-256 is enough for it.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats.errors
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from nats.aio.client import Client
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from shared import ids
from shared.errors import Conflict, Unavailable
from shared.ids import AgentId, TokenId, UserId, WebhookId
from shared.subjects import SECRETS

PREFIX = "tm"  # of a token, so that scanners of code can find one that leaked
MAX_TOKEN = 200
MAX_HASHING = 16  # passwords that may wait for their hash at a time: half a second's work

_hasher = PasswordHasher()
#: Compared against when there is no such user, so that the time tells nothing.
_NOBODY = _hasher.hash("nobody has this password")


class Secrets:
    """The bucket. Methods raise Unavailable when the broker does not answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._token_hashes: dict[TokenId, bytes] = {}  # they never change; revocation is the log's to say
        self._hashing = asyncio.Semaphore(2)  # argon2 takes 64 MiB and a core at a time
        self._num_hashing = 0

    async def new_token(self, token_id: TokenId) -> str:
        """Draw a token's secret, keep its hash, and return the token: it is shown this once."""
        secret = secrets.token_urlsafe(32)
        await self._put(f"token.{token_id}", _kept(secret))
        return f"{PREFIX}_{token_id}_{secret}"

    async def opens(self, token: str) -> TokenId | None:
        """Return which token this is, or None when it is none of ours. It may have expired or been revoked."""
        prefix, _, rest = token.partition("_")
        name, _, secret = rest.partition("_")
        if prefix != PREFIX or not name or not secret or len(token) > MAX_TOKEN or not name.isalnum():
            return None
        token_id = TokenId(name)
        known = self._token_hashes.get(token_id)
        if known is None:
            stored = await self._get(f"token.{token_id}")
            if stored is None:
                return None
            known = self._token_hashes[token_id] = bytes.fromhex(stored.decode())
        return token_id if hmac.compare_digest(known, _digest(secret)) else None

    async def forget_token(self, token_id: TokenId) -> None:
        """Forget a token's hash, if there still is one."""
        self._token_hashes.pop(token_id, None)
        if await self._get(f"token.{token_id}") is not None:
            bucket = await self._bucket()
            await bucket.purge(f"token.{token_id}")

    async def joining_revision(self, agent_id: AgentId) -> int:
        """Return which secret of an invitation is the present one; 0: there is none."""
        return await self._revision(f"join.{agent_id}")

    async def new_joining_secret(self, agent_id: AgentId, revision: int) -> str:
        """Draw the secret of an invitation and keep its hash in place of that of a revision.

        Raises Conflict when that is not the present one any more.
        """
        secret = secrets.token_hex(32)
        await self._replace(f"join.{agent_id}", _kept(secret), revision)
        return secret

    async def admits(self, agent_id: AgentId, secret: str) -> bool:
        """Say whether this is the secret with which a machine may join as an agent."""
        known = await self._get(f"join.{agent_id}")
        return known is not None and hmac.compare_digest(known, _kept(secret))

    async def hashed(self, password: str) -> bytes:
        """Return what is kept of a password. Raises Unavailable when too many wait for that."""
        async with self._place():
            return (await asyncio.to_thread(_hasher.hash, password)).encode()

    async def password_revision(self, user_id: UserId) -> int:
        """Return which password of the user's is the present one; 0: there is none."""
        return await self._revision(f"password.{user_id}")

    async def set_password(self, user_id: UserId, hashed: bytes, revision: int) -> None:
        """Keep a hash in place of that of a revision. Raises Conflict when that is not the present one any more."""
        await self._replace(f"password.{user_id}", hashed, revision)

    async def is_password(self, user_id: UserId, password: str) -> bool:
        """Say whether this is the user's password. Takes as long when there is no such user.

        Raises Unavailable when too many wait for that.
        """
        async with self._place():
            stored = await self._get(f"password.{user_id}") if ids.is_token(user_id) else None
            fits = await asyncio.to_thread(_verify, stored.decode() if stored else _NOBODY, password)
        return fits and stored is not None

    def check_room(self) -> None:
        """Raise Unavailable when as many passwords as may wait for their hash."""
        if self._num_hashing >= MAX_HASHING:
            raise Unavailable("too many passwords are being checked; try again in a moment")

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        self.check_room()
        self._num_hashing += 1
        try:
            async with self._hashing:
                yield
        finally:
            self._num_hashing -= 1

    async def set_webhook_secret(self, webhook_id: WebhookId, secret: str) -> None:
        """Keep what a webhook's messages are signed with: in clear, for signing needs it."""
        await self._put(f"webhook.{webhook_id}", secret.encode())

    async def webhook_secret(self, webhook_id: WebhookId) -> str | None:
        """Return what a webhook's messages are signed with."""
        stored = await self._get(f"webhook.{webhook_id}")
        return stored.decode() if stored else None

    async def forget_webhook(self, webhook_id: WebhookId) -> None:
        """Forget a webhook's secret and how far it was."""
        bucket = await self._bucket()
        await bucket.purge(f"webhook.{webhook_id}")
        await bucket.purge(f"webhook-position.{webhook_id}")

    async def note_webhook_position(self, webhook_id: WebhookId, generation: int, seq: int) -> None:
        """Keep the sequence up to which a webhook's events were taken."""
        await self._put(f"webhook-position.{webhook_id}", f"{generation} {seq}".encode())

    async def webhook_position(self, webhook_id: WebhookId, generation: int) -> int:
        """Return the sequence up to which a webhook's events were taken since its creation or its last replay."""
        stored = await self._get(f"webhook-position.{webhook_id}")
        noted, seq = map(int, stored.decode().split()) if stored else (0, 0)
        return seq if noted == generation else 0

    async def _put(self, key: str, value: bytes) -> None:
        bucket = await self._bucket()
        try:
            await bucket.put(key, value)
        except (nats.errors.Error, OSError) as error:
            raise Unavailable(f"the broker did not keep a secret: {error!r}") from error

    async def _replace(self, key: str, value: bytes, revision: int) -> None:
        bucket = await self._bucket()
        try:
            await bucket.update(key, value, last=revision)
        except KeyWrongLastSequenceError as error:
            raise Conflict(f"somebody else changed {key} just now") from error
        except (nats.errors.Error, OSError) as error:
            raise Unavailable(f"the broker did not keep a secret: {error!r}") from error

    async def _revision(self, key: str) -> int:
        entry = await self._entry(key)
        return 0 if entry is None else entry.revision or 0

    async def _get(self, key: str) -> bytes | None:
        entry = await self._entry(key)
        return None if entry is None else entry.value

    async def _entry(self, key: str) -> KeyValue.Entry | None:
        bucket = await self._bucket()
        try:
            return await bucket.get(key)
        except KeyNotFoundError:
            return None
        except (nats.errors.Error, OSError) as error:
            raise Unavailable(f"the broker did not answer: {error!r}") from error

    async def _bucket(self) -> KeyValue:
        try:
            return await self._client.jetstream().key_value(SECRETS)
        except (nats.errors.Error, OSError) as error:
            raise Unavailable(f"the broker did not answer: {error!r}") from error


def _kept(secret: str) -> bytes:
    """What is kept of a secret that was drawn at random."""
    return _digest(secret).hex().encode()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _verify(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False

# Made by trainmaster/client/generate.py from its sync counterpart: change that one.
"""What the client does about users and tokens."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import httpx

from trainmaster.client.asynchronous.checked import check
from trainmaster.client.errors import Unreachable
from trainmaster.client.shapes import Invitation, LoginCode, NewToken, Session, TokenView, UserView

TIMEOUT_S = 30.0


class Access:
    """Users, roles and tokens. Methods raise ApiError and Unreachable."""

    def __init__(
        self, call: Callable[..., Awaitable[dict[str, Any]]], pages: Callable[[str], AsyncIterator[dict[str, Any]]]
    ) -> None:
        self._call_json = call
        self._pages = pages

    async def session(self) -> Session:
        """Return who is asking."""
        return cast("Session", await self._call("GET", "/session"))

    async def log_out(self) -> None:
        """End the token that asks."""
        await self._call("DELETE", "/session")

    async def login_code(self) -> LoginCode:
        """Return a code that logs a browser in, once."""
        return cast("LoginCode", await self._call("POST", "/session/code"))

    async def change_password(self, old: str, new: str) -> Session:
        """Change one's own password."""
        return cast("Session", await self._call("POST", "/session/password", {"old": old, "new": new}))

    async def tokens(self) -> list[TokenView]:
        """Return one's tokens; an administrator sees everybody's."""
        return cast("list[TokenView]", [item async for item in self._pages("/tokens")])

    async def new_token(self, label: str, *, role: str, days: int | None, user: str | None = None) -> NewToken:
        """Issue a token; `days` None: until it is revoked."""
        wanted = {"label": label, "role": role, "days": days, "user": user}
        return cast("NewToken", await self._call("POST", "/tokens", wanted))

    async def revoke_token(self, token_id: str) -> TokenView:
        """Revoke a token."""
        return cast("TokenView", await self._call("DELETE", f"/tokens/{token_id}"))

    async def users(self) -> list[UserView]:
        """Return the users by name."""
        return cast("list[UserView]", [item async for item in self._pages("/users")])

    async def create_user(self, name: str, *, full_name: str, is_service: bool) -> UserView:
        """Make a user known."""
        wanted = {"name": name, "full_name": full_name, "is_service": is_service}
        return cast("UserView", await self._call("POST", "/users", wanted))

    async def set_password(self, name: str, password: str) -> UserView:
        """Set a user's password."""
        return cast("UserView", await self._call("POST", f"/users/{name}/password", {"password": password}))

    async def enable_user(self, name: str, *, enabled: bool) -> UserView:
        """Let a user in again, or keep it out."""
        return cast("UserView", await self._call("POST", f"/users/{name}/{('enable' if enabled else 'disable')}"))

    async def grant(self, name: str, role: str, workspace: str | None) -> UserView:
        """Give a user a role in a workspace, or (None) everywhere."""
        return cast("UserView", await self._call("PUT", f"/users/{name}/roles", {"role": role, "workspace": workspace}))

    async def revoke(self, name: str, workspace: str | None) -> UserView:
        """Take a user's role in a workspace, or (None) everywhere."""
        return cast("UserView", await self._call("DELETE", f"/users/{name}/roles", query={"workspace": workspace}))

    async def invite_machine(self, agent: str | None) -> Invitation:
        """Let a machine join as an agent, None: as the first that is free."""
        return cast("Invitation", await self._call("POST", "/invitations", {"agent": agent}))

    async def _call(
        self, method: str, path: str, body: object = None, query: dict[str, str | int | None] | None = None
    ) -> dict[str, Any]:
        return await self._call_json(method, path, query=query, body=body)


async def log_in(url: str, user: str, password: str, *, days: int) -> str:
    """Return a token for this machine, in exchange for a user's password. Raises ApiError, Unreachable."""
    url = url.rstrip("/")
    try:
        async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=TIMEOUT_S, headers={"Origin": url}) as http:
            label = f"tm on {socket.gethostname()}"[:100]
            answer = await http.post(
                "/session", json={"user": user, "password": password, "days": days, "label": label}
            )
            await check(answer)
    except httpx.TransportError as error:
        raise Unreachable(f"the platform at {url} does not answer ({error})") from error
    token: str = answer.json()["token"]
    return token

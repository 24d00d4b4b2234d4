"""Waiting for a condition instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

POLL_S = 0.02
PATIENCE_S = 30.0  # a busy machine takes ten seconds to start an agent


@overload
async def eventually(condition: Callable[[], Awaitable[T]], *, timeout_s: float = ...) -> T: ...
@overload
async def eventually(condition: Callable[[], T], *, timeout_s: float = ...) -> T: ...
async def eventually(condition: Callable[[], Awaitable[T] | T], *, timeout_s: float = PATIENCE_S) -> T:
    """Return the condition's first true value. Raises AssertionError, naming the last one, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        result: T = await value if inspect.isawaitable(value) else value
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"still {result!r} after {timeout_s} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(POLL_S)


def eventually_sync(condition: Callable[[], T], *, timeout_s: float = PATIENCE_S) -> T:
    """Return the condition's first true value, for tests without an event loop."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {result!r} after {timeout_s} s: {inspect.getsource(condition).strip()}")
        time.sleep(POLL_S)
    return result

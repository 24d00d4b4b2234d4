"""How often a password may be guessed: a few times, and then only after a pause."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from shared.errors import Rejected

MAX_FAILURES = 5
PAUSE_S = 60.0
MAX_NAMES = 10_000  # the oldest is forgotten: guessing at so many names at once finds nobody's password


@dataclass(slots=True)
class Patience:
    """The attempts at each name that failed or are under way, most recent last."""

    failures: OrderedDict[str, list[float]] = field(default_factory=OrderedDict)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Count an attempt before its outcome is known, so that many at a time are no way around the limit.

        One that ends with an error told nobody anything and is taken back. Raises Rejected (429) when there were too
        many just now.
        """
        self._check(name)
        at = time.monotonic()
        self.failures[name] = [*self.failures.pop(name, [])[-MAX_FAILURES:], at]
        if len(self.failures) > MAX_NAMES:
            self.failures.popitem(last=False)
        try:
            yield
        except Exception:
            if at in (counted := self.failures.get(name, [])):
                counted.remove(at)
            raise

    def _check(self, name: str) -> None:
        recent = [at for at in self.failures.get(name, []) if time.monotonic() - at < PAUSE_S]
        if len(recent) >= MAX_FAILURES:
            reason = f"too many wrong passwords for {name}; try again in {PAUSE_S:.0f} s"
            raise Rejected(reason, status=HTTPStatus.TOO_MANY_REQUESTS)

    def forget(self, name: str) -> None:
        """The right password came."""
        self.failures.pop(name, None)

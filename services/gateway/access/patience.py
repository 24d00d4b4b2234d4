"""How often a password may be guessed: a few times, and then only after a pause."""

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from http import HTTPStatus

from shared.errors import Rejected

MAX_FAILURES = 5
PAUSE_S = 60.0
MAX_NAMES = 10_000  # the oldest is forgotten: guessing at so many names at once finds nobody's password


@dataclass(slots=True)
class Patience:
    """The failed attempts at each name, most recent last."""

    failures: OrderedDict[str, list[float]] = field(default_factory=OrderedDict)

    def check(self, name: str) -> None:
        """Raise Rejected (429) when there were too many failures just now."""
        recent = [at for at in self.failures.get(name, []) if time.monotonic() - at < PAUSE_S]
        if len(recent) >= MAX_FAILURES:
            reason = f"too many wrong passwords for {name}; try again in {PAUSE_S:.0f} s"
            raise Rejected(reason, status=HTTPStatus.TOO_MANY_REQUESTS)

    def note_failure(self, name: str) -> None:
        """Count one."""
        self.failures[name] = [*self.failures.pop(name, [])[-MAX_FAILURES:], time.monotonic()]
        if len(self.failures) > MAX_NAMES:
            self.failures.popitem(last=False)

    def forget(self, name: str) -> None:
        """The right password came."""
        self.failures.pop(name, None)

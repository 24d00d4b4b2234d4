"""The errors a caller acts on; anything else is a bug."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One mistake in an input: where it is, what is wrong, and what to write instead."""

    path: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.suggestion})" if self.suggestion else text


class Rejected(Exception):
    """The caller's mistake; `problems` lists every one found. HTTP 400, 404, 409 or 422."""

    def __init__(self, title: str, problems: tuple[Problem, ...] = (), *, status: int = 422) -> None:
        super().__init__("\n".join([title, *map(str, problems)]))
        self.title = title
        self.problems = problems
        self.status = status


class TooLarge(Rejected):
    """An event does not fit into a message; smaller input is the only mend. HTTP 413."""

    def __init__(self, title: str) -> None:
        super().__init__(title, status=413)


class Refused(Exception):
    """A server answered, and said no for good (no permission, quota): trying again will not help."""


class NotFound(Exception):
    """The object store does not have what was asked for."""


class Conflict(Exception):
    """The log has moved on since this decision was taken: fold, then decide again."""


class Unavailable(Exception):
    """A server cannot be reached now; try later. HTTP 503."""

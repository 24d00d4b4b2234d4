"""What can go wrong for a client."""

from shared.errors import Problem


class ApiError(Exception):
    """The platform refused a request; `problems` lists what is wrong with it."""

    def __init__(self, status: int, title: str, detail: str, problems: tuple[Problem, ...]) -> None:
        lines = [detail if detail and detail != title else title, *(f"  {problem}" for problem in problems)]
        super().__init__("\n".join(lines))
        self.status = status
        self.title = title
        self.problems = problems


class Unreachable(Exception):
    """Nothing answers at the platform's URL."""


class NoPlatform(Exception):
    """No platform is known: TM_URL is not set and none runs in the data directory."""

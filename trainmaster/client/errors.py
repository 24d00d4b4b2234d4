"""What can go wrong for a client."""

import json

import httpx

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


def check(response: httpx.Response) -> None:
    """Raise ApiError unless the answer is a good one."""
    if response.is_success:
        return
    body = response.read()
    try:
        problem = json.loads(body)
        problems = tuple(Problem(e["path"], e["message"], e.get("suggestion")) for e in problem.get("errors", ()))
        title, detail = problem["title"], problem.get("detail", "")
    except (ValueError, KeyError, TypeError):
        title, detail, problems = f"HTTP {response.status_code}", body[:500].decode(errors="replace"), ()
    raise ApiError(response.status_code, title, detail, problems)

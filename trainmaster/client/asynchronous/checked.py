# Made by trainmaster/client/generate.py from its sync counterpart: change that one.
"""Answers that are no good ones."""

import json

import httpx

from shared.errors import Problem
from trainmaster.client.errors import ApiError


async def check(response: httpx.Response) -> None:
    """Raise ApiError unless the answer is a good one."""
    if response.is_success:
        return
    body = await response.aread()
    try:
        problem = json.loads(body)
        problems = tuple(Problem(e["path"], e["message"], e.get("suggestion")) for e in problem.get("errors", ()))
        title, detail = (problem["title"], problem.get("detail", ""))
    except (ValueError, KeyError, TypeError):
        title, detail, problems = (f"HTTP {response.status_code}", body[:500].decode(errors="replace"), ())
    raise ApiError(response.status_code, title, detail, problems)

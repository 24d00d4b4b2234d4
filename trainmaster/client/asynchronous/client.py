# Made by trainmaster/client/generate.py from its sync counterpart: change that one.
"""The client: one method for each thing the API does."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

import httpx

from shared import archive
from trainmaster.client.asynchronous import sse
from trainmaster.client.asynchronous.access import Access
from trainmaster.client.asynchronous.checked import check
from trainmaster.client.asynchronous.filing import Filing
from trainmaster.client.asynchronous.webhooks import Webhooks
from trainmaster.client.errors import Unreachable
from trainmaster.client.shapes import (
    Agent,
    Checkpoint,
    Diff,
    EventItem,
    EventPage,
    Experiment,
    ExperimentDetail,
    Limit,
    LogLine,
    Policy,
    Pool,
    QueueItem,
    Series,
    SetAsideList,
    SlotHistory,
    SlotUsage,
    Status,
    Trial,
    Why,
)
from trainmaster.client.upload import Upload

TIMEOUT_S = 30.0
STREAM_SILENCE_S = 30.0
CHUNK_BYTES = 1024 * 1024
_AWAY = (502, 503, 504)
_SEQ = "TM-Seq"
Query = dict[str, str | int | None]


class AsyncClient:
    """A connection to one platform. Methods raise ApiError and Unreachable.

    `on_lost` is called when the platform goes away while something is followed; following goes on when it is back.
    `as_of` (a sequence, or a time with its offset) makes experiments, trials, checkpoints, agents and queue those of
    then. `as_of_seq` is the sequence that was meant, known with the first answer: all answers are about one moment.
    """

    def __init__(
        self, url: str, token: str | None, on_lost: Callable[[], None] = lambda: None, *, as_of: str | int | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.as_of_seq: int | None = None
        self._as_of = as_of
        self._on_lost = on_lost
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(base_url=f"{self.url}/api/v1", timeout=TIMEOUT_S, headers=headers)
        self.access = Access(self._json, self._pages)
        self.filing = Filing(self._json, self._pages)
        self.webhooks = Webhooks(self._json)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def submit(
        self, config: Path | bytes, code: Path, *, on_sent: Callable[[int, int], None] | None = None
    ) -> Experiment:
        """Submit an experiment file, or its text, with a code directory.

        `on_sent` is told how many bytes of the packed code are sent, and how many there are. Raises Rejected when the
        code cannot be packed.
        """
        packed = Upload(archive.pack(code), on_sent)
        files: dict[str, bytes | Upload] = {
            "config": config.read_bytes() if isinstance(config, Path) else config,
            "code": packed,
        }
        return cast("Experiment", await self._json("POST", "/experiments", files=files))

    def experiments(self, *, where: str = "", sort: str = "", show: str = "live") -> AsyncIterator[Experiment]:
        """Yield experiments, newest first unless `sort` says otherwise; `where` is a filter (docs/api.md).

        `show` is live (neither archived nor deleted), archived or all.
        """
        query: Query = {"filter": where or None, "sort": sort or None, "show": show}
        return cast("AsyncIterator[Experiment]", self._pages("/experiments", query))

    async def experiment(self, experiment_id: str, *, min_seq: int | None = None) -> ExperimentDetail:
        """Return one experiment; with `min_seq`, as it was no earlier than that event."""
        return cast("ExperimentDetail", await self._read(f"/experiments/{experiment_id}", query={"min_seq": min_seq}))

    async def pause(self, experiment_id: str) -> Experiment:
        """Have an experiment's trials checkpoint and give their slots back."""
        return cast("Experiment", await self._json("POST", f"/experiments/{experiment_id}/pause"))

    async def resume(self, experiment_id: str) -> Experiment:
        """Let a paused experiment go on."""
        return cast("Experiment", await self._json("POST", f"/experiments/{experiment_id}/resume"))

    async def cancel(self, experiment_id: str) -> Experiment:
        """End an experiment."""
        return cast("Experiment", await self._json("POST", f"/experiments/{experiment_id}/cancel"))

    async def change_job(self, experiment_id: str, **change: str | float | None) -> Experiment:
        """Change an experiment's `priority`, `weight`, `max_slots`, `pool`, or place (`ahead_of`, `behind` another)."""
        query = {name: None if value is None else str(value) for name, value in change.items()}
        return cast("Experiment", await self._json("POST", f"/experiments/{experiment_id}/queue", query=dict(query)))

    async def change_search(
        self, experiment_id: str, *, max_trials: int | None = None, max_concurrent_trials: int | None = None
    ) -> Experiment:
        """Change how many trials a live search has in all, or at a time."""
        query = Query(max_trials=max_trials, max_concurrent_trials=max_concurrent_trials)
        return cast("Experiment", await self._json("POST", f"/experiments/{experiment_id}/search", query=query))

    async def cancel_trial(self, trial_id: str) -> Trial:
        """End one trial; the search goes on without it."""
        return cast("Trial", await self._json("POST", f"/trials/{trial_id}/cancel"))

    def trials(self, experiment_id: str, *, min_seq: int | None = None) -> AsyncIterator[Trial]:
        """Yield an experiment's trials by index."""
        return cast("AsyncIterator[Trial]", self._pages(f"/experiments/{experiment_id}/trials", {"min_seq": min_seq}))

    async def trial(self, trial_id: str) -> Trial:
        """Return one trial."""
        return cast("Trial", await self._read(f"/trials/{trial_id}"))

    async def why(self, name: str, *, kind: str = "trials") -> Why:
        """Return why something is as it is, with the events that led there; `kind` is trials, experiments or agents."""
        return cast("Why", await self._read(f"/{kind}/{quote(name, safe='')}/why"))

    async def checkpoints(self, *, experiment_id: str | None = None, trial_id: str | None = None) -> list[Checkpoint]:
        """Return the checkpoints of an experiment or of a trial."""
        return cast(
            "list[Checkpoint]", [item async for item in self._pages(f"{_owner(experiment_id, trial_id)}/checkpoints")]
        )

    async def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Return one checkpoint."""
        return cast("Checkpoint", await self._read(f"/checkpoints/{checkpoint_id}"))

    async def delete_checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """Have a checkpoint's files deleted; they go soon after."""
        return cast("Checkpoint", await self._json("POST", f"/checkpoints/{checkpoint_id}/delete"))

    async def checkpoint_file(self, checkpoint_id: str, path: str) -> AsyncIterator[bytes]:
        """Yield a file of a checkpoint in chunks."""
        async with self._open("GET", f"/checkpoints/{checkpoint_id}/files/{quote(path)}") as response:
            async for item in response.aiter_bytes(CHUNK_BYTES):
                yield item

    async def metrics(
        self,
        *,
        experiment_id: str | None = None,
        trial_id: str | None = None,
        group: str,
        name: str | None = None,
        from_step: int | None = None,
        to_step: int | None = None,
        max_points: int | None = None,
    ) -> list[Series]:
        """Return the metrics of an experiment's trials or of one trial; `group` is validation or training.

        A series of more than `max_points` is thinned so that its extremes stay (docs/metrics.md).
        """
        query = Query(group=group, name=name, from_step=from_step, to_step=to_step, max_points=max_points)
        path = f"{_owner(experiment_id, trial_id)}/metrics"
        return cast("list[Series]", (await self._json("GET", path, query=query))["series"])

    async def export_metrics(
        self, query: Query, *, experiment_id: str | None = None, trial_id: str | None = None
    ) -> AsyncIterator[bytes]:
        """Yield a file of all points, in chunks; `query` takes format (csv, ndjson, parquet), group, name, archived."""
        async with self._open("GET", f"{_owner(experiment_id, trial_id)}/metrics/export", query) as response:
            async for item in response.aiter_bytes(CHUNK_BYTES):
                yield item

    async def agents(self) -> list[Agent]:
        """Return all agents by name."""
        return cast("list[Agent]", [item async for item in self._pages("/agents")])

    async def close_agent(
        self, agent_id: str, verb: str, *, slots: Sequence[int] = (), grace_s: float | None = None
    ) -> Agent:
        """`drain`, `disable` or `enable` an agent, or some of its slots."""
        query: Query = {
            "slots": ",".join(map(str, slots)) or None,
            "grace_s": None if grace_s is None else str(grace_s),
        }
        return cast("Agent", await self._json("POST", f"/agents/{agent_id}/{verb}", query=query))

    async def pools(self) -> list[Pool]:
        """Return all resource pools by name."""
        return cast("list[Pool]", (await self._json("GET", "/pools"))["items"])

    async def configure_pool(self, pool_id: str, policy: Policy) -> Pool:
        """Set how a pool is scheduled."""
        query = {name: _word(value) for name, value in policy.items()}
        return cast("Pool", await self._json("PUT", f"/pools/{pool_id}", query=dict(query)))

    async def limits(self) -> list[Limit]:
        """Return all limits by workspace, that of each workspace first."""
        return cast("list[Limit]", [item async for item in self._pages("/limits")])

    async def set_limit(
        self, workspace: str | None, *, max_slots: int | None, best_priority: int | None
    ) -> list[Limit]:
        """Limit a workspace, or (None) each; return all limits."""
        query: Query = {"workspace": workspace, "max_slots": max_slots, "best_priority": best_priority}
        return cast("list[Limit]", (await self._json("PUT", "/limits", query=query))["items"])

    async def clear_limit(self, workspace: str | None) -> list[Limit]:
        """Lift a limit; return those that are left."""
        return cast("list[Limit]", (await self._json("DELETE", "/limits", query={"workspace": workspace}))["items"])

    async def usage(self, *, since: str | None = None, until: str | None = None, by: str = "user") -> SlotUsage:
        """Return the slot-seconds used, by user, workspace, project, experiment or pool; times in ISO 8601."""
        return cast("SlotUsage", await self._json("GET", "/usage", query={"since": since, "until": until, "by": by}))

    async def occupancy(
        self, *, since: str | None = None, until: str | None = None, stretches: int = 100
    ) -> SlotHistory:
        """Return how many slots were held, and there, over time."""
        query: Query = {"since": since, "until": until, "stretches": stretches}
        return cast("SlotHistory", await self._json("GET", "/usage/occupancy", query=query))

    def queue(self, *, pool: str | None = None) -> AsyncIterator[QueueItem]:
        """Yield the waiting trials, of one pool or of all, in the order they will be served."""
        return cast("AsyncIterator[QueueItem]", self._pages("/queue", {"pool": pool}))

    async def status(self) -> Status:
        """Return how the platform is."""
        return cast("Status", await self._json("GET", "/status"))

    async def diff(self, from_: str | int, to: str | int | None, limit: int) -> Diff:
        """Return what changed between two moments, at most `limit` of each kind of change."""
        return cast("Diff", await self._json("GET", "/diff", query={"from": from_, "to": to, "limit": limit}))

    async def set_aside(self, limit: int) -> SetAsideList:
        """Return the messages that the read model could not use, newest first."""
        return cast("SetAsideList", await self._json("GET", "/set-aside", query={"limit": limit}))

    async def events(self, query: Query) -> EventPage:
        """Return a page of the log; `query` takes after, limit, experiment, trial, name, writer, since, until."""
        return cast("EventPage", await self._json("GET", "/events", query=query))

    async def follow_events(self, query: Query, *, patience_s: float | None = None) -> AsyncIterator[EventItem]:
        """Yield events as they come, for ever; `query` takes after, experiment, trial, name, writer, since.

        Waits for a platform that went away, at most `patience_s`.
        """
        async for event in self._followed("/events/stream", query, patience_s):
            yield cast("EventItem", json.loads(event.data))

    async def raw_events(self, query: Query) -> AsyncIterator[bytes]:
        """Yield the log's messages as they are, one JSON document each; `query` takes last and what `events` takes."""
        async with self._open("GET", "/events/raw", query) as response:
            rest = b""
            async for chunk in response.aiter_bytes():
                *lines, rest = (rest + chunk).split(b"\n")
                for item in lines:
                    yield item

    async def logs(
        self, trial_id: str, *, follow: bool, rank: int | None = None, min_seq: int | None = None
    ) -> AsyncIterator[LogLine]:
        """Yield the lines a trial wrote; with `follow`, until it is over and all lines are out. `min_seq` is an event
        that must be known there, such as the one that requested the trial.
        """
        path, query = (f"/trials/{trial_id}/logs", Query(rank=rank, min_seq=min_seq))
        if follow:
            async for event in self._followed(path, query | {"follow": "true"}, sse.PATIENCE_S):
                yield cast("LogLine", json.loads(event.data))
        else:
            async with self._open("GET", path, query) as response:
                async for line in response.aiter_lines():
                    if line:
                        yield cast("LogLine", json.loads(line))

    async def _pages(self, path: str, query: Query | None = None) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = await self._read(path, query={"limit": 100, "cursor": cursor} | (query or {}))
            for item in page["items"]:
                yield item
            if (cursor := page["next_cursor"]) is None:
                return

    async def _read(self, path: str, *, query: Query | None = None) -> dict[str, Any]:
        """Return the answer to a question that can be about the past."""
        response = await self._request("GET", path, query=(query or {}) | {"as_of": self._as_of})
        if self._as_of is not None:
            self._as_of = self.as_of_seq = int(response.headers[_SEQ])
        answer: dict[str, Any] = response.json()
        return answer

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        files: dict[str, bytes | Upload] | None = None,
        body: object = None,
    ) -> dict[str, Any]:
        answer: dict[str, Any] = (await self._request(method, path, query=query, files=files, body=body)).json()
        return answer

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        files: dict[str, bytes | Upload] | None = None,
        body: object = None,
    ) -> httpx.Response:
        async with self._reaching():
            response = await self._http.request(method, path, params=_given(query), files=files, json=body)
            await check(response)
        return response

    @contextlib.asynccontextmanager
    async def _open(self, method: str, path: str, query: Query | None = None) -> AsyncIterator[httpx.Response]:
        async with self._reaching(), self._http.stream(method, path, params=_given(query)) as response:
            await check(response)
            yield response

    async def _followed(self, path: str, query: Query, patience_s: float | None) -> AsyncIterator[sse.ServerEvent]:
        async with self._reaching():
            async for item in sse.resumed(partial(self._stream, path, query), self._on_lost, patience_s):
                yield item

    @contextlib.asynccontextmanager
    async def _stream(self, path: str, query: Query, last_id: str | None) -> AsyncIterator[httpx.Response]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = httpx.Timeout(TIMEOUT_S, read=STREAM_SILENCE_S)
        async with self._http.stream("GET", path, params=_given(query), headers=headers, timeout=timeout) as response:
            if response.status_code in _AWAY:
                raise Unreachable(f"the platform at {self.url} is not ready")
            await check(response)
            yield response

    @contextlib.asynccontextmanager
    async def _reaching(self) -> AsyncIterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise Unreachable(f"the platform at {self.url} does not answer ({error})") from error


def _owner(experiment_id: str | None, trial_id: str | None) -> str:
    return f"/trials/{trial_id}" if trial_id else f"/experiments/{experiment_id}"


def _word(value: object) -> str | None:
    """Return a value as a query holds it."""
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _given(query: Query | None) -> dict[str, str | int]:
    return {name: value for name, value in (query or {}).items() if value is not None}

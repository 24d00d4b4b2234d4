"""Checkpoints of one allocation, stored behind its training, one after the other in the order they were written.

The chief's part makes the checkpoint: when the files of all agents are stored, it writes the manifest and says
CheckpointSaved. The other agents say CheckpointShardUploaded. Then the ranks are told, and the local files go.
"""

import asyncio
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from services.worker import checkpoints, unfinished
from services.worker.allocation import Allocation, Shard
from services.worker.checkpoints import BadCheckpoint
from services.worker.instruments import UPLOADED
from services.worker.outbox import Outbox
from services.worker.patience import Patience
from services.worker.unfinished import Note, Notes
from shared import ids
from shared.errors import TooLarge
from shared.events import CheckpointFile, CheckpointSaved, CheckpointShardUploaded
from shared.ids import AgentId
from shared.objectstore import ObjectStore

MAX_WAITING = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A checkpoint whose local files are complete."""

    step: int
    directory: Path
    zero_stage: int | None
    cause: int  # the sequence of TrialStarted or GPUAllocated


class Uploads:
    """Stores what ranks have written."""

    def __init__(
        self,
        allocation: Allocation,
        *,
        agent_id: AgentId,
        store: ObjectStore,
        outbox: Outbox,
        notes: Notes,
    ) -> None:
        self._allocation = allocation
        self._notes = notes
        self._agent_id = agent_id
        self._store = store
        self._outbox = outbox
        self._waiting: asyncio.Queue[Written] = asyncio.Queue(MAX_WAITING)
        self._num_pending = 0
        self._stored_steps: set[int] = set()
        self._shards: dict[int, dict[AgentId, Sequence[CheckpointFile]]] = {}
        self._completed: set[AgentId] = set()
        self._heard = asyncio.Event()

    @property
    def are_pending(self) -> bool:
        """Whether anything that was added is not stored yet."""
        return self._num_pending > 0

    async def add(self, written: Written, said_before: "Collection[asyncio.Future[int]]" = ()) -> None:
        """Queue a checkpoint; waits until what was `said_before` is on the log, and while MAX_WAITING wait already."""
        self._num_pending += 1
        if said_before:
            await asyncio.wait(said_before)
        if len(self._allocation.members) == 1 and written.step not in self._stored_steps:
            note = Note(saved=self._saved(written), directory=str(written.directory), cause=written.cause)
            await asyncio.to_thread(self._notes.write, note)
        await self._waiting.put(written)

    def add_shard(self, shard: Shard) -> None:
        """Another agent has stored its files."""
        self._shards.setdefault(shard.step, {})[shard.agent_id] = shard.files
        self._heard.set()

    def add_completed(self, agent_id: AgentId) -> None:
        """Another agent's ranks have completed, so that all its files are stored."""
        self._completed.add(agent_id)
        self._heard.set()

    async def finished(self) -> None:
        """Wait until everything that was added is stored, or has failed."""
        await self._waiting.join()

    async def run(
        self, broadcast: Callable[[dict[str, Any]], None], fail: Callable[[str], None], say: Callable[[str], None]
    ) -> None:
        """Store checkpoints for ever; tell all ranks of each, and end the trial when one is no good."""
        while True:
            written = await self._waiting.get()
            try:
                if written.step not in self._stored_steps:
                    await self._save(written, Patience(say))
                    self._stored_steps.add(written.step)
                broadcast({"type": "checkpoint_stored", "step": written.step})
                await asyncio.to_thread(shutil.rmtree, written.directory, ignore_errors=True)
            except (BadCheckpoint, TooLarge) as error:
                fail(f"the checkpoint of step {written.step} cannot be stored: {error}")
            finally:
                self._num_pending -= 1
                self._waiting.task_done()

    async def _save(self, written: Written, patience: Patience) -> None:
        allocation, saved = self._allocation, self._saved(written)
        if len(allocation.members) == 1:
            files = await unfinished.upload(self._store, self._notes, saved, written.directory, patience)
        else:
            files = await checkpoints.upload(self._store, saved.checkpoint_id, written.directory, patience)
        UPLOADED.inc(sum(file.size_bytes for file in files))
        if allocation.chief == self._agent_id:
            whole = await self._with_shards(written, files)
            await unfinished.say(self._store, self._outbox, replace(saved, files=tuple(whole)), written.cause, patience)
            await asyncio.to_thread(self._notes.remove, written.step)
            return
        spoken = allocation.spoken_by(self._agent_id)
        shard = CheckpointShardUploaded(
            **spoken, checkpoint_id=saved.checkpoint_id, step=written.step, files=tuple(files)
        )
        checkpoints.check_size(shard)
        await self._outbox.append(shard, causes=(written.cause,), correlation=allocation.experiment_id)

    def _saved(self, written: Written) -> CheckpointSaved:
        """Return what there is to say of a checkpoint, but for its files."""
        allocation = self._allocation
        return CheckpointSaved(
            **allocation.spoken_by(self._agent_id),
            checkpoint_id=ids.checkpoint_id(allocation.allocation_id, written.step),
            step=written.step,
            world_size=allocation.world_size,
            zero_stage=written.zero_stage,
            files=(),
        )

    async def _with_shards(self, written: Written, own: Sequence[CheckpointFile]) -> list[CheckpointFile]:
        """Wait for the other agents' files and return all, sorted by path."""
        others = {member.agent_id for member in self._allocation.members} - {self._agent_id}
        while missing := others - self._shards.get(written.step, {}).keys():
            if never := missing & self._completed:
                raise BadCheckpoint(f"the ranks on {', '.join(sorted(never))} ended without writing their part of it")
            self._heard.clear()
            await self._heard.wait()
        files = {file.path: file for file in own}
        for shard in self._shards.pop(written.step, {}).values():
            for file in shard:
                if files.setdefault(file.path, file).sha256 != file.sha256:
                    raise BadCheckpoint(f"two agents wrote a different {file.path}; name files by rank")
        return sorted(files.values(), key=lambda file: file.path)

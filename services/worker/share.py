"""This agent's ranks of a gang: started, listened to, ended."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.worker import launch, workspace
from services.worker.allocation import Allocation, Checkpoint, Rendezvous
from services.worker.control import Control
from services.worker.endings import Ending, RankExit, local_ending
from services.worker.facilities import Facilities
from services.worker.frames import Farewell, Frame
from services.worker.logs import RankLog
from services.worker.meter import Meter
from services.worker.parent import Process
from services.worker.prepare import Prepared, prepare, welcome
from services.worker.ranks import DUMP_S, Ranks, end
from services.worker.rendezvous import ANY_PORT, RendezvousHost
from services.worker.reports import Reports
from services.worker.stalls import START_TIMEOUT_S, Watch, dismissal, verdict
from services.worker.trial_socket import TrialSocket, socket_path
from services.worker.uploads import Uploads
from shared import tracing
from shared.events import CheckpointRefused, FailureCause, TrialStarted

#: For storing what ranks wrote before one of them failed, or up to the end of the time that a stop left them. After a
#: clean exit there is no limit: the trial has not completed before its last checkpoint is stored.
UPLOAD_GRACE_S = 60.0

#: The same after a failure in a gang over several agents: until it is reported, the other agents' ranks run on in vain.
GANG_UPLOAD_GRACE_S = 5.0

Captures = Mapping[int, "asyncio.Task[None]"]


class Share:
    """Runs this agent's ranks."""

    def __init__(self, facilities: Facilities, allocation: Allocation, control: Control, uploads: Uploads) -> None:
        self._facilities = facilities
        self._allocation = allocation
        self._control = control
        self._uploads = uploads
        self._place = launch.place_of(allocation, facilities.agent_id, facilities.slots)
        self._logs = {rank: facilities.logs.open(allocation, rank) for rank in self._place.ranks}
        self.started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def log(self) -> RankLog:
        """Where the agent says what concerns the trial."""
        return self._logs[self._place.first_rank]

    async def run(self, host: RendezvousHost | None) -> Ending:
        """Run the ranks to their end; `host` is the gang's rendezvous if this agent opens it.

        None of them runs any more when this returns, or raises what kept them from running.
        """
        allocation = self._allocation
        async with self._facilities.workspace.allocation_directory(allocation.allocation_id) as directory:
            try:
                async with self._control.interruptible(by_stop=True, by_kill=True):
                    prepared = await prepare(
                        self._facilities, allocation, self._place, directory, self.log, self._refuse
                    )
                    await self._facilities.parent.wait_until_warm()
                    rendezvous = await self._meet(host)
            except TimeoutError:
                return local_ending((), {}, is_stopping=True, kill=self._control.kill_reason)
            return await self._run_ranks(prepared, rendezvous)

    async def drain_logs(self) -> None:
        """Wait until everything that the ranks wrote is in the stream."""
        for log in self._logs.values():
            await log.drained()

    async def _refuse(self, checkpoint: Checkpoint, reason: str) -> None:
        """The chief says that a checkpoint is broken; the other agents' copies are the same."""
        allocation = self._allocation
        if allocation.chief != self._facilities.agent_id:
            return
        event = CheckpointRefused(
            **allocation.spoken_by(self._facilities.agent_id),
            checkpoint_id=checkpoint.checkpoint_id,
            step=checkpoint.step,
            reason=reason,
        )
        causes = tuple(sorted({checkpoint.seq, allocation.seq}))
        await self._facilities.outbox.append(event, causes=causes, correlation=allocation.experiment_id)

    async def _meet(self, host: RendezvousHost | None) -> Rendezvous:
        """Return where the ranks meet, once they may start."""
        if host:
            await host.serve(self._facilities.parent)
            return host.rendezvous
        if self._allocation.world_size == 1:
            return Rendezvous(address=self._facilities.address, port=ANY_PORT)
        return await asyncio.shield(self._control.rendezvous)

    async def _run_ranks(self, prepared: Prepared, rendezvous: Rendezvous) -> Ending:
        reports, control = self._reports(prepared), self._control
        is_alone = len(self._allocation.members) == 1
        watch = Watch(prepared.experiment.stall_timeout, start_timeout_s=0.0 if is_alone else START_TIMEOUT_S)
        async with workspace.scratch(prepared.directory) as scratch:
            with self._conversions(prepared), socket_path(prepared.directory) as path:
                trial_socket = self._socket(path, prepared, reports, watch)
                async with asyncio.TaskGroup() as tasks, trial_socket.serve(tasks):
                    self._say_limits(prepared)
                    ranks, captures = await self._launch(prepared, rendezvous, path, scratch, tasks)
                    measuring = tasks.create_task(self._meter(ranks).run(lambda: reports.step), name="measure")
                    try:
                        await self._say_started(prepared)
                        exits, is_stored = await self._see_through(ranks, captures, trial_socket, watch, tasks)
                    finally:
                        measuring.cancel()
                        await ranks.end()
        return local_ending(
            exits,
            reports.byes,
            is_stopping=control.stop.done(),
            kill=control.kill_reason,
            fault=control.fault.result() if control.fault.done() else None,
            is_stored=is_stored,
        )

    def _conversions(self, prepared: Prepared) -> contextlib.AbstractContextManager[None]:
        if (checkpoint := prepared.resume_directory) is None:
            return contextlib.nullcontext()
        return self._facilities.workspace.conversions.beside(checkpoint)

    def _socket(self, path: Path, prepared: Prepared, reports: Reports, watch: Watch) -> TrialSocket:
        def greet(rank: int) -> dict[str, Any] | None:
            answer = welcome(prepared, self._allocation, self._place, rank)
            if answer is not None:
                watch.greeted(rank)
            return answer

        async def handle(rank: int, frame: Frame) -> None:
            watch.heard(rank)
            with watch.holding_up():
                await reports.handle(rank, frame)
            if isinstance(frame, Farewell):
                watch.parted(rank)

        return TrialSocket(path, welcome=greet, handle=handle, complain=self.log.say)

    def _meter(self, ranks: Ranks) -> Meter:
        return Meter(self._allocation, self._facilities, self._place.slots, ranks.group_ids, self.log.say)

    async def _launch(
        self, prepared: Prepared, rendezvous: Rendezvous, socket: Path, scratch: Path, tasks: asyncio.TaskGroup
    ) -> tuple[Ranks, Captures]:
        """Start all ranks, or none: raises CannotSpawn, or OSError."""
        processes: dict[int, Process] = {}
        captures: dict[int, asyncio.Task[None]] = {}
        try:
            for rank in self._place.ranks:
                with contextlib.ExitStack() as reading, contextlib.ExitStack() as writing:
                    stdout, stderr = (_pipe(reading, writing) for _ in range(2))
                    output = (stdout[1], stderr[1])
                    processes[rank] = await self._spawn(prepared, rendezvous, socket, scratch, rank, output)
                    captures[rank] = tasks.create_task(
                        self._capture(rank, stdout[0], stderr[0]), name=f"output of rank {rank}"
                    )
                    reading.pop_all()
        except BaseException:
            await end(processes.values())
            raise
        return Ranks(processes, self._logs), captures

    async def _spawn(
        self,
        prepared: Prepared,
        rendezvous: Rendezvous,
        socket: Path,
        scratch: Path,
        rank: int,
        output: tuple[int, int],
    ) -> Process:
        identity = {
            **tracing.variables(),
            "TM_SOCKET": str(socket),
            "TM_TRIAL_ID": self._allocation.trial_id,
            "TM_EXPERIMENT_ID": self._allocation.experiment_id,
        } | launch.told_to_plain_scripts(prepared.trial.hyperparameters)
        facilities = self._facilities
        base = {**facilities.base_environment, **launch.interface_variables(facilities.address), "TMPDIR": str(scratch)}
        memory_mb = prepared.experiment.resources.memory_mb_per_slot
        cpus_per_slot = prepared.experiment.resources.cpus_per_slot
        cpus = launch.cpus_of(self._place, rank, cpus_per_slot, sorted(os.sched_getaffinity(0)))
        return await facilities.parent.spawn(
            prepared.command.argv,
            warm=prepared.command.warm,
            environment=launch.environment(
                base,
                prepared.variables,
                self._place,
                rank,
                rendezvous,
                identity,
                prepared.experiment.started_by,
                num_threads=len(cpus) if cpus else 1,
            ),
            directory=prepared.code_directory,
            stdout=output[0],
            stderr=output[1],
            memory_bytes=None if memory_mb is None else memory_mb * 2**20,
            cpus=cpus,
        )

    async def _capture(self, rank: int, stdout: int, stderr: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for fd, stream in ((stdout, "stdout"), (stderr, "stderr")):
                tasks.create_task(self._logs[rank].capture(fd, stream), name=f"{stream} of rank {rank}")

    def _say_limits(self, prepared: Prepared) -> None:
        """Say to what each process is held, and by which means of the kernel."""
        resources = prepared.experiment.resources
        if memory_mb := resources.memory_mb_per_slot:
            self.log.say(f"each process may hold {memory_mb} MiB of data (RLIMIT_DATA)")
        if (num_cpus := resources.cpus_per_slot) and self._place.slots:
            self.log.say(f"each rank runs on {num_cpus} of the agent's processors (affinity)")

    async def _say_started(self, prepared: Prepared) -> None:
        """The chief says that the trial has started; on other agents what follows is caused by the allocation."""
        allocation = self._allocation
        if allocation.chief != self._facilities.agent_id:
            self.started.set_result(allocation.seq)
            return
        event = TrialStarted(
            **allocation.spoken_by(self._facilities.agent_id),
            world_size=allocation.world_size,
            warm=prepared.command.warm,
            resumed_from=prepared.resume.checkpoint_id if prepared.resume else None,
        )
        stored = await self._facilities.outbox.put(
            event, causes=(allocation.seq,), correlation=allocation.experiment_id
        )
        stored.add_done_callback(self._note_started)

    def _note_started(self, stored: "asyncio.Future[int]") -> None:
        if not stored.cancelled():
            self.started.set_result(stored.result())

    def _reports(self, prepared: Prepared) -> Reports:
        return Reports(
            self._facilities,
            self._allocation,
            checkpoint_directory=prepared.checkpoint_directory,
            started=self.started,
            uploads=self._uploads,
            say=self.log.say,
            fail=self._control.fail,
        )

    async def _see_through(
        self, ranks: Ranks, captures: Captures, trial_socket: TrialSocket, watch: Watch, tasks: asyncio.TaskGroup
    ) -> tuple[list[RankExit], bool]:
        """Wait until the ranks, and all that they have set going, have ended; end them when told to.

        Returns how they ended, and whether all that they said and wrote is stored.
        """
        uploads = self._uploads.run(trial_socket.broadcast, self._control.fail, self.log.say)
        helping = [
            tasks.create_task(uploads, name="uploads"),
            tasks.create_task(self._obey_stop(ranks, trial_socket), name="obey stop"),
            tasks.create_task(self._obey_kill(ranks), name="obey kill"),
            tasks.create_task(self._obey_fault(ranks), name="obey fault"),
            tasks.create_task(self._watch_over(ranks, watch), name="watch over ranks"),
        ]
        ranks.on_exit(watch.ended)
        exits = await ranks.join(captures)
        is_stored = await self._store_the_rest(exits, trial_socket)
        for task in (*helping, *captures.values()):
            task.cancel()
        return exits, is_stored

    async def _store_the_rest(self, exits: Sequence[RankExit], trial_socket: TrialSocket) -> bool:
        have_failed = self._control.fault.done() or any(ended.code != 0 and not ended.signalled for ended in exits)
        grace_s = UPLOAD_GRACE_S if len(self._allocation.members) == 1 else GANG_UPLOAD_GRACE_S
        try:
            async with self._control.interruptible():
                await trial_socket.drained()
            async with self._control.interruptible(by_kill=True, timeout_s=grace_s if have_failed else None):
                await self._uploads.finished()
        except TimeoutError:
            self.log.say("the ranks' last words or checkpoint could not be stored")
            return False
        return True

    async def _obey_stop(self, ranks: Ranks, trial_socket: TrialSocket) -> None:
        stop = await asyncio.shield(self._control.stop)
        self.log.say(f"asked to stop: {stop.reason}")
        trial_socket.stop(stop.reason)
        if not trial_socket.was_greeted:  # a program that does not talk to us; after its bye, one does not hear us
            ranks.signal(signal.SIGTERM)
        await asyncio.sleep(stop.timeout_s)
        if ranks.are_running:
            self.log.say(f"killed: still running {stop.timeout_s:g} s after it was asked to stop")
            ranks.kill()
        await asyncio.sleep(UPLOAD_GRACE_S)
        self._control.expire()

    async def _obey_kill(self, ranks: Ranks) -> None:
        kill = await asyncio.shield(self._control.kill)
        self.log.say(f"killed: {kill.reason}")
        ranks.kill()

    async def _obey_fault(self, ranks: Ranks) -> None:
        await asyncio.shield(self._control.fault)
        await ranks.terminate()

    async def _watch_over(self, ranks: Ranks, watch: Watch) -> None:
        """End the trial when its ranks have hung, once all have said where they are; end those that linger."""
        while True:
            await watch.wait()
            if lingering := watch.lingering():
                self.log.say(f"{dismissal(lingering, watch.timeout_s)}")
                await ranks.dismiss(lingering)
                continue
            overdue = watch.overdue()
            if self._uploads.are_pending or watch.are_held_up:  # they may be waiting for the store, or for the broker
                watch.excuse()
                continue
            error = verdict(overdue, watch.limit_s, watch.timeout_s)
            self.log.say(f"{error}; the stacks of all ranks follow")
            ranks.dump_stacks(watch.ranks)
            await asyncio.sleep(DUMP_S)
            stacks = "\n".join(self._logs[overdue[0]].stderr_tail)
            self._control.fail(f"{error}\n{stacks}\n{error}", FailureCause.STALLED)
            return


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """Return the ends of a new pipe, each for its stack to close."""
    ends = os.pipe()
    reading.callback(os.close, ends[0])
    writing.callback(os.close, ends[1])
    return ends

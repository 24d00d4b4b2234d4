"""A trial as its training script sees it: hyperparameters in; metrics and checkpoints out; a loop that resumes."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, overload

from trainmaster.sdk import checkpoint, rng, universal
from trainmaster.sdk import metrics as told
from trainmaster.sdk.agreement import StopAgreement, rendezvous_store
from trainmaster.sdk.assignment import Length, Resume
from trainmaster.sdk.checkpoint import Progress
from trainmaster.sdk.checkpoint_policy import CheckpointPolicy
from trainmaster.sdk.gathering import Gathering
from trainmaster.sdk.hyperparameters import Hyperparameters
from trainmaster.sdk.local import LocalSession
from trainmaster.sdk.merge import merge
from trainmaster.sdk.profile import Profile
from trainmaster.sdk.session import Session


@contextmanager
def trial(
    *, hyperparameters: Mapping[str, Any] | None = None, max_length: "int | Mapping[str, int] | None" = None
) -> "Iterator[Trial]":
    """Open the trial that this process trains, and close it when the block ends.

        with tm.trial(hyperparameters={"lr": 1e-3}, max_length={"epochs": 3}) as trial:
            ...

    Started by Trainmaster, the trial's hyperparameters and length come from the experiment file; the arguments here are
    the defaults for what the file does not say. Started by hand (`python train.py`, or torchrun), there are only the
    defaults: reports are printed and checkpoints are kept in ./trainmaster-checkpoints. The script is the same.

    Seeds the random generators of Python, numpy and torch, those that are imported by then, with `trial.seed`.
    An exception in the block ends the process as usual; Trainmaster then starts the trial again from its newest
    checkpoint, as often as the experiment's max_restarts allows.
    """
    session = _open_session()
    assignment = session.assignment
    default_length = None if max_length is None else Length.parse(max_length)
    agreement = StopAgreement(
        rank=assignment.rank,
        world_size=assignment.world_size if session.may_ask_to_stop else 1,
        begun=assignment.steps_completed,
        store=rendezvous_store,
    )
    session.start(on_stop=agreement.request)
    rng.seed(assignment.seed)
    opened = Trial(session, agreement, defaults=hyperparameters or {}, default_length=default_length)
    try:
        yield opened
    except BaseException:
        session.leave()
        raise
    session.say_bye("preempted" if opened.is_stopped else "completed", opened.steps_completed)


def _open_session() -> Session:
    path = os.environ.get("TM_SOCKET")
    if path is None:
        return LocalSession()
    from trainmaster.sdk.agent import AgentSession  # here, so that importing trainmaster stays light

    return AgentSession(path, int(os.environ.get("RANK", "0")))  # a plain script is not told of ranks


class Trial:
    """One configuration being trained, seen from one of its ranks. Made by `tm.trial()`."""

    def __init__(
        self, session: Session, agreement: StopAgreement, *, defaults: Mapping[str, Any], default_length: Length | None
    ) -> None:
        assignment = session.assignment
        self._session = session
        self._assignment = assignment
        self._agreement = agreement
        self._max_length = assignment.max_length or default_length
        self._saved_step = assignment.steps_completed or None
        self._gathering = Gathering(
            world_size=assignment.world_size,
            store=rendezvous_store,
            say_alive=self.heartbeat,
            stall_timeout_s=assignment.stall_timeout_s,
        )
        self._policy = CheckpointPolicy(assignment, self._gathering)
        self._steps_per_epoch: int | None = None
        self._known_records: tuple[int, int] | None = (0, 0)  # a step, and the records trained on up to it

        self.profile = Profile()
        if assignment.world_size > 1:
            self.profile.watch_communication()
        """Where this rank's time goes; `steps` and tm.deepspeed's loader keep it."""
        self.id = assignment.trial_id
        self.experiment_id = assignment.experiment_id
        self.hyperparameters = Hyperparameters(merge(defaults, assignment.hyperparameters))
        """The trial's hyperparameters; `trial.hyperparameters.lr` reads like `trial.hyperparameters["lr"]`."""
        self.seed = assignment.seed
        """The trial's seed, the same on every rank and after every restart."""
        self.deepspeed = assignment.deepspeed
        """The experiment file's `deepspeed` section, as written there; `tm.deepspeed.initialize` reads it."""
        self.rank = assignment.rank
        self.world_size = assignment.world_size
        self.local_rank = assignment.local_rank
        self.local_world_size = assignment.local_world_size
        self.is_chief = assignment.rank == 0
        """Whether this is rank 0, the one whose reports count."""
        self.step = 0
        """The step being trained: the last one that `steps` gave."""
        self.steps_completed = assignment.steps_completed
        self.is_stopped = False
        """Whether `steps` ended early because the platform asked: leave out what only a finished trial needs."""
        self.restored_state: dict[str, Any] = {}
        """The extra_state of the checkpoint that `steps` loaded; empty on a fresh start."""
        self.global_batch_size: int | None = None
        """Records in a step over all ranks; set by tm.deepspeed.initialize, or by you, if max_length counts records."""

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps in an epoch: what you or tm.deepspeed.initialize have set, for max_length in epochs; the experiment
        file's records_per_epoch goes before, once `global_batch_size` is known."""
        records = self._assignment.records_per_epoch
        if records and self.global_batch_size:
            return math.ceil(records / self.global_batch_size)
        return self._steps_per_epoch

    @steps_per_epoch.setter
    def steps_per_epoch(self, steps: int | None) -> None:
        self._steps_per_epoch = steps

    @property
    def max_steps(self) -> int | None:
        """The last step to train, from the experiment file's max_length; None: until the loop breaks."""
        length = self._max_length
        if length is None:
            return None
        if length.unit == "batches":
            return length.count
        if length.unit == "epochs":
            return length.count * self._known("steps_per_epoch")
        return math.ceil(length.count / self._known("global_batch_size"))

    @property
    def records_completed(self) -> int | None:
        """How many records all ranks have trained on so far, also those of an interrupted run with another batch size;
        None if the global batch size is not known."""
        return self._records_at(self.steps_completed)

    def steps(self, resume: Any = None) -> Iterator[int]:
        """Yield the number of each step to train, from 1, or from after the newest checkpoint, up to `max_steps`.

        A step is one optimizer step. `resume` is what is trained: a DeepSpeed engine, an object with state_dict and
        load_state_dict, or a dict of such objects. Before the first step the newest checkpoint is loaded into it and
        the random generators are put back, so that the run continues as if it had never been interrupted. When the
        platform needs the slots, the loop ends between two steps, the same two on every rank, after a checkpoint. So it
        does at `max_steps` if the search may have the trial train further later. After a step with a validation a
        checkpoint follows as the experiment file's checkpoint_policy says.
        """
        self._restore(resume)
        last_step = self.max_steps
        self.profile.begin()
        counts_steps = hasattr(resume, "global_steps")  # a DeepSpeed engine
        try:
            while last_step is None or self.steps_completed < last_step:
                if not self._agreement.begin(self.steps_completed + 1):
                    self.is_stopped = True
                    break
                self.step = self.steps_completed + 1
                self._session.progress(self.step)
                optimizer_steps = resume.global_steps if counts_steps else 0
                try:
                    yield self.step
                finally:  # a loop that breaks is through with its step, too
                    self.steps_completed = self.step
                if counts_steps:
                    _check_accumulation(resume, self.step, optimizer_steps)
                if self.is_chief and (figures := self.profile.step_ended(self.global_batch_size)):
                    self._session.report_profile(self.step, figures)
                if resume is not None and self._policy.is_due(self.step):
                    self.checkpoint(resume, self.step)
        finally:
            self._agreement.leave()
        is_wanted = self.is_stopped or self._assignment.may_continue
        if is_wanted and resume is not None and self.steps_completed > 0:
            self.checkpoint(resume, self.steps_completed)

    @overload
    def report(self, step: int, /, **metrics: object) -> None: ...
    @overload
    def report(self, group: str, step: int, /, **metrics: object) -> None: ...
    def report(self, where: int | str, step: int | None = None, /, **metrics: object) -> None:
        """Report training metrics of a step: numbers, or tensors and arrays of one number. Only rank 0's count.

            trial.report(step, loss=loss)
            trial.report("gradients", step, norm=norm, clipped=clipped)     # a group of its own, with its own steps

        Never blocks: what is reported travels in the background, in batches, and a tensor on a GPU is read there too.
        If the platform falls behind by 10,000 points, older points are thinned out, and their number is printed at the
        end. Values that are not finite are left out, with a warning.
        """
        group, at = ("training", where) if step is None else (told.check_group(str(where)), step)
        if self.is_chief:
            self._session.report(told.check_step(at), told.capture(metrics), group)

    def report_validation(self, step: int, **validation_metrics: object) -> None:
        """Report validation metrics: what the search decides on. Only rank 0's count, so aggregate over ranks first.

        None is ever dropped. Values that are not finite are left out, with a warning; at a rung of the search they are
        the worst there can be. Waits only if hundreds of validations are unsent. Call it on every rank: then a
        checkpoint can follow, if checkpoint_policy is all, or best and this is the best so far.
        """
        captured = told.capture(validation_metrics)
        self._policy.note(told.check_step(step), captured)
        if self.is_chief:
            self._session.report_validation(step, captured)

    def heartbeat(self) -> None:
        """Say that the trial is alive, in work that takes longer than the experiment file's stall_timeout without a
        step or a report: a long validation, say."""
        self._session.progress(self.steps_completed)

    def checkpoint(self, engine: Any, step: int, **extra_state: Any) -> None:
        """Save what `engine` holds after `step`, with the random generators and any picklable `extra_state`.

        `engine` may be None: then there is the extra state only. Every rank must call it, at the same step. Returns
        when all ranks have written their files to local disk; the upload goes on behind. Waits only if the upload of
        the checkpoint before is not over. A step is saved once.
        """
        step = told.check_step(step)
        if step == self._saved_step:
            return
        directory = self._assignment.checkpoint_directory / f"step-{step}"
        if self.local_rank == 0:
            checkpoint.make_empty(directory)
        self._gathering.meet()
        progress = Progress(step=step, extra_state=extra_state, records=self._records_at(step), best=self._policy.best)
        checkpoint.write(engine, directory, rank=self.rank, progress=progress)
        self._gathering.meet()
        if self.local_rank == 0:
            with self._gathering.beating():
                self._session.checkpoint_written(step, directory, checkpoint.zero_stage(engine))
        self._gathering.meet()  # else the others would wait in the next step's collective operations, with a timeout
        self._saved_step = step

    def _records_at(self, step: int) -> int | None:
        if self.global_batch_size is None or self._known_records is None:
            return None
        known_step, records = self._known_records
        return records + (step - known_step) * self.global_batch_size

    def _restore(self, engine: Any) -> None:
        resume = self._assignment.resume
        if resume is None or self.step > 0:  # in a second loop there is nothing to go back to
            return
        if engine is None and not checkpoint.holds_only_extra_state(resume.directory):
            raise ValueError(f"the trial starts from {_name(resume)}: tell steps(resume=…) what to load it into")
        progress = self._read(engine, resume)
        self.restored_state = progress.extra_state
        if resume.is_warm_start:
            return
        self._restore_rng(resume)
        self._policy.restore(progress.best)
        self._known_records = None if progress.records is None else (resume.step, progress.records)
        if self._known_records is None and self.world_size == resume.world_size:
            self._known_records = (0, 0)

    def _read(self, engine: Any, resume: Resume) -> Progress:
        is_cut = checkpoint.is_deepspeed(engine) and checkpoint.zero_stage(engine)
        if resume.world_size == self.world_size or not is_cut:
            return checkpoint.read(engine, resume.directory, rank=self.rank)
        if self.local_rank == 0:
            with self._gathering.beating():
                universal.convert(resume.directory)
        self._gathering.meet()
        return universal.read(engine, universal.universal_directory(resume.directory), rank=self.rank)

    def _restore_rng(self, resume: Resume) -> None:
        if resume.world_size == self.world_size:
            checkpoint.restore_rng(resume.directory, rank=self.rank)
        else:
            rng.seed_anew(self.seed, resume.step, self.rank)

    def _known(self, name: str) -> int:
        value: int | None = getattr(self, name)
        if value is None:
            length = self._max_length
            raise ValueError(
                f"max_length is {length and length.count} {length and length.unit}, so trial.{name} is needed first: "
                "call tm.deepspeed.initialize before trial.steps, or set it"
            )
        return value


def _name(resume: Resume) -> str:
    return f"checkpoint {resume.checkpoint_id} of step {resume.step}"


def _check_accumulation(engine: Any, step: int, steps_before: int) -> None:
    num_batches = engine.gradient_accumulation_steps()
    if num_batches > 1 and engine.global_steps == steps_before:
        raise RuntimeError(
            f"step {step} ended before the optimizer moved: with gradient_accumulation_steps {num_batches}, take "
            f"{num_batches} batches from the loader in every step, each with engine.backward and engine.step"
        )

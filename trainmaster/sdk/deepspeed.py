"""DeepSpeed for a trial: `tm.deepspeed.initialize` makes the engine that the experiment file asks for, and its data."""

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from typing import Any

import torch
import torch.distributed
from torch.utils.data import DataLoader, Dataset

from trainmaster.sdk import rng
from trainmaster.sdk.agreement import rendezvous_store
from trainmaster.sdk.engine_config import engine_config
from trainmaster.sdk.gathering import WORK_TIMEOUT_S
from trainmaster.sdk.sampler import Shuffle
from trainmaster.sdk.trial import Trial

Collate = Callable[[list[Any]], Any]


def initialize(
    model: torch.nn.Module,
    dataset: Dataset[Any],
    trial: Trial,
    *,
    config: Mapping[str, Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    collate_fn: Collate | None = None,
    num_workers: int = 0,
) -> tuple[Any, "Loader"]:
    """Return a DeepSpeed engine around `model`, and a loader that deals `dataset` out to the ranks.

        engine, loader = tm.deepspeed.initialize(model, dataset, trial, config={
            "micro_batch_size": 64, "optimizer": {"type": "AdamW", "params": {"lr": trial.hyperparameters.lr}}})
        for step, (inputs, targets) in zip(trial.steps(resume=engine), loader):
            loss = loss_function(engine(inputs.to(engine.device)), targets.to(engine.device))
            engine.backward(loss)
            engine.step()

    The DeepSpeed config is the experiment file's `deepspeed` section with `config` on top, which may use the same short
    form; what depends on hyperparameters belongs in `config`. There must be an optimizer, in one of them or as
    `optimizer`. The ranks are joined into a process group (NCCL on GPUs, gloo on CPUs) unless the script has done so.

    A step is one optimizer step. With gradient_accumulation_steps above 1 it takes as many batches from the loader:

        batches = iter(loader)
        for step in trial.steps(resume=engine):
            for _ in range(engine.gradient_accumulation_steps()):
                inputs, targets = next(batches)

    Afterwards each rank draws its own random numbers, seeded with trial.seed + trial.rank.
    """
    merged = engine_config(trial.deepspeed, config or {})
    if optimizer is None and "optimizer" not in merged:
        raise ValueError('no optimizer: pass config={"optimizer": {"type": "AdamW", "params": {…}}} or optimizer=…')
    deepspeed = _import_deepspeed()
    _join_process_group(deepspeed, trial)
    engine, *_ = deepspeed.initialize(
        model=model,
        model_parameters=[parameter for parameter in model.parameters() if parameter.requires_grad],
        optimizer=optimizer,
        config=merged,
    )
    loader = Loader(dataset, engine, trial, collate_fn=collate_fn, num_workers=num_workers)
    trial.global_batch_size = engine.train_batch_size()
    trial.steps_per_epoch = len(loader)
    rng.seed(trial.seed + trial.rank)
    return engine, loader


class Loader:
    """The batches of one rank, without end, the same for the same seed.

    Every epoch is a new permutation of the dataset; all batches have the same size, so one may hold the end of an epoch
    and the start of the next. Iterating starts at the trial's next step, so a resumed trial sees the batches that it
    would have seen. `len(loader)` is the number of steps in an epoch, rounded up.

    With worker processes (num_workers), random augmentation in the dataset is seeded anew at each resume.
    """

    def __init__(
        self, dataset: Any, engine: Any, trial: Trial, *, collate_fn: Collate | None, num_workers: int
    ) -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"a dataset needs __len__ and __getitem__; {type(dataset).__name__} is without")
        self._dataset = dataset
        self._engine = engine
        self._trial = trial
        self._collate_fn = collate_fn
        self._num_workers = num_workers
        self._shuffle = Shuffle(
            num_records=len(dataset),
            micro_batch_size=engine.train_micro_batch_size_per_gpu(),
            world_size=trial.world_size,
            seed=trial.seed,
        )

    def __len__(self) -> int:
        global_batch_size: int = self._engine.train_batch_size()
        return math.ceil(len(self._dataset) / global_batch_size)

    def __iter__(self) -> Iterator[Any]:
        # A generator, so that the position is read at the first batch: only then has trial.steps resumed.
        batches = DataLoader(
            self._dataset,
            batch_sampler=self._shuffle.micro_batches(self._trial.rank, self._position()),
            collate_fn=self._collate_fn,
            num_workers=self._num_workers,
            pin_memory=self._engine.device.type == "cuda",
            generator=torch.Generator().manual_seed(self._trial.seed + self._trial.rank),
        )
        yield from self._trial.profile.waiting(iter(batches))

    def _position(self) -> int:
        """Return the record at which the next batch starts, in the stream that all ranks share."""
        global_batch_size: int = self._engine.train_batch_size()
        records = self._trial.records_completed
        return self._trial.steps_completed * global_batch_size if records is None else records


def _import_deepspeed() -> Any:
    """Import DeepSpeed, without the warnings about which nobody who reads a trial's log can do anything."""
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)  # DeepSpeed uses them
    if torch.cuda.device_count() == 0:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    return import_module("deepspeed")


def _join_process_group(deepspeed: Any, trial: Trial) -> None:
    """Set up torch.distributed, unless that is done, and DeepSpeed's wrapper around it."""
    accelerator = deepspeed.accelerator.get_accelerator()
    if accelerator.device_name() == "cpu":
        # Else it is compiled at this point, which takes 35 s and a toolchain; small models gain nothing from it.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    else:
        accelerator.set_device(trial.local_rank)
    if not torch.distributed.is_initialized():
        alone = trial.world_size == 1
        torch.distributed.init_process_group(
            accelerator.communication_backend_name(),
            store=torch.distributed.HashStore() if alone else rendezvous_store(),  # type: ignore[attr-defined,arg-type]
            rank=trial.rank,
            world_size=trial.world_size,
            # A rank may have to wait for the platform. Ranks that hang are seen by the agent, which has their stacks.
            timeout=timedelta(seconds=WORK_TIMEOUT_S),
        )
    os.environ.setdefault("LOCAL_RANK", str(trial.local_rank))
    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False)

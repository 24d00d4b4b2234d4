"""Trainmaster in a training script: `import trainmaster as tm`.

    with tm.trial() as trial:
        engine, loader = tm.deepspeed.initialize(model, dataset, trial)
        for step, batch in zip(trial.steps(resume=engine), loader):
            ...
            trial.report(step, loss=loss)

`tm.trial` connects the script to the platform, or runs it alone where there is none. `tm.deepspeed` prepares a
DeepSpeed engine and its data; torch and deepspeed are imported only when it is first used.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from trainmaster.sdk.trial import Trial, trial

if TYPE_CHECKING:
    from trainmaster.sdk import deepspeed

__all__ = ["Trial", "deepspeed", "trial"]


def __getattr__(name: str) -> ModuleType:
    if name != "deepspeed":
        raise AttributeError(f"module 'trainmaster' has no attribute {name!r}")
    module = import_module("trainmaster.sdk.deepspeed")
    globals()[name] = module
    return module

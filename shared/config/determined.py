"""Reads what only a Determined experiment file says: in our words, dropped with a note, or a mistake.

A field that is left at Determined's default, or is empty all through, asks for nothing. One that says how the machine
is set up (where checkpoints lie, shared memory) is the platform's business here: it is dropped, and a note says so. One
that asks for what does not exist here is a mistake, with what to write instead. docs/migrating-from-determined.md lists
them all.
"""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from shared.config.launcher import words_of
from shared.errors import Problem

Document = dict[str, Any]

_SCRIPT = "say it in the script; remove this"
_NO_CONTAINERS = "trials are processes of the agent, not containers"

#: Path -> what to write instead.
REFUSED: Mapping[str, str] = {
    "min_validation_period": f"report_validation() when you want to: {_SCRIPT}",
    "min_checkpoint_period": f"trial.checkpoint() when you want to: {_SCRIPT}",
    "perform_initial_validation": f"report_validation(0, …) before the loop: {_SCRIPT}",
    "optimizations": "there is no Horovod; precision and accumulation are in the deepspeed section",
    "bind_mounts": f"{_NO_CONTAINERS}: they see the agent's own paths; remove this",
    "log_policies": "max_restarts and stall_timeout decide; remove this",
    "retention_policy": "output is kept for 30 days for all; remove this",
    "integrations": "remove this",
    "slurm": "there is no Slurm here; name a resources.resource_pool",
    "pbs": "there is no PBS here; name a resources.resource_pool",
    "security": "remove this",
    "resources.is_single_node": "a gang that fits on one agent is put there; remove this",
    "resources.slots": "Determined ignores it in experiments; write slots_per_trial",
    "resources.devices": f"{_NO_CONTAINERS}: they see the agent's devices; remove this",
    "environment.image": f"{_NO_CONTAINERS}: install what the script needs on the agents; remove this",
    "environment.ports": f"{_NO_CONTAINERS}; remove this",
    "environment.proxy_ports": "there is no proxy to trials; remove this",
    "environment.pod_spec": "there is no Kubernetes here; remove this",
    "environment.registry_auth": f"{_NO_CONTAINERS}; remove this",
    "environment.add_capabilities": f"{_NO_CONTAINERS}; remove this",
    "environment.drop_capabilities": f"{_NO_CONTAINERS}; remove this",
    "environment.force_pull_image": f"{_NO_CONTAINERS}; remove this",
    "environment.slurm": "there is no Slurm here; remove this",
    "environment.pbs": "there is no PBS here; remove this",
    "searcher.source_trial_id": "resume_from: one of its checkpoints; tm checkpoint ls TRIAL shows them",
}
#: Of what is refused: field -> Determined's defaults in one version or another, if they are not empty; "[]": in a list.
#: An image has none that lasts: the default is another with each version.
DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "log_policies[].name": ("CUDA OOM", "ECC Error"),
    "log_policies[].pattern": (".*CUDA out of memory.*", ".*uncorrectable ECC error encountered.*"),
    "optimizations.aggregation_frequency": (1,),
    "optimizations.average_aggregated_gradients": (True,),
    "optimizations.average_training_metrics": (True, False),
    "optimizations.mixed_precision": ("O0",),
    "optimizations.tensor_fusion_cycle_time": (1, 5),
    "optimizations.tensor_fusion_threshold": (64,),
    "retention_policy.log_retention_days": (-1,),
}
#: Path -> why it changes nothing here.
DROPPED: Mapping[str, str] = {
    "debug": "the agent always keeps all of a trial's output",
    "scheduling_unit": "the script reports when it wants to",
    "profiling": "each trial's speed and its machine's load are always measured",
    "data_layer": "Determined ignores it, too",
    "internal": "Determined ignores it, too",
    "tensorboard_storage": "Determined ignores it, too",
    "resources.shm_size": "shared memory is the agent's own",
    "resources.native_parallel": "Determined ignores it, too",
    "resources.agent_label": "Determined ignores it, too",
}
#: Of checkpoint_storage: where it is. The platform has one object store.
PLACES = (
    "type", "bucket", "access_key", "secret_key", "endpoint_url", "prefix", "container", "connection_string",
    "account_url", "credential", "host_path", "storage_path", "propagation", "container_path", "tensorboard_path",
    "checkpoint_path",
)  # fmt: skip
#: Methods that Determined has dropped -> what comes nearest.
FORMER_METHODS = {
    "adaptive": "adaptive_asha",
    "adaptive_simple": "adaptive_asha",
    "sync_halving": "async_halving",
    "pbt": "bayesian_asha",
    "custom": "bayesian",
}
DEVICES = ("cpu", "cuda", "rocm")
LAUNCHERS = {"torch_distributed": "torch", "deepspeed": "deepspeed"}

_LAUNCH = re.compile(r"determined\.launch\.(\w+)")
_TRIAL_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(slots=True)
class Translation:
    """A document in our words, what is wrong with it, and what of it was dropped because it changes nothing."""

    document: Document
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def translated(document: Mapping[str, Any]) -> Translation:
    """Return what a document says in our words. One that says nothing of Determined's alone comes back as it is."""
    result = Translation(deepcopy(dict(document)))
    for path, mend in REFUSED.items():
        for value in _taken(result.document, path):
            if _asks(path, value):
                result.problems.append(Problem(path, "exists in Determined only", mend))
    for path, why in DROPPED.items():
        if any(value is not None for value in _taken(result.document, path)):
            result.notes.append(f"{path} has no effect: {why}")
    _storage(result)
    _searcher(result)
    _pool(result.document)
    _variables(result.document)
    _entrypoint(result)
    return result


def _taken(document: Document, path: str) -> Iterator[Any]:
    """Take a field out of a document, and yield its value if it is there."""
    section, _, key = path.rpartition(".")
    holder = document.get(section) if section else document
    if isinstance(holder, dict) and key in holder:
        yield holder.pop(key)


def _asks(path: str, value: Any) -> bool:
    """Say whether a value asks for anything: whether something in it is not at Determined's default, which is empty
    where nothing else is known."""
    if isinstance(value, dict):
        return any(_asks(f"{path}.{key}", inner) for key, inner in value.items())
    if isinstance(value, list):
        return any(_asks(f"{path}[]", inner) for inner in value)
    if value is None or path not in DEFAULTS:
        return bool(value)
    return not any(value == default and type(value) is type(default) for default in DEFAULTS[path])


def _storage(result: Translation) -> None:
    storage = result.document.get("checkpoint_storage")
    if isinstance(storage, dict) and (given := [key for key in PLACES if key in storage]):
        for key in given:
            del storage[key]
        result.notes.append(
            f"checkpoint_storage.{', '.join(given)}: checkpoints go to the platform's own object store; save_… counts"
        )


def _searcher(result: Translation) -> None:
    searcher = result.document.get("searcher")
    if not isinstance(searcher, dict):
        return
    for checkpoint in _taken(result.document, "searcher.source_checkpoint_uuid"):
        if checkpoint is not None:
            result.document.setdefault("resume_from", checkpoint)
    name = searcher.get("name")
    if isinstance(name, str) and name in FORMER_METHODS:
        mend = f"{FORMER_METHODS[name]} comes nearest"
        result.problems.append(
            Problem("searcher.name", f"{name} is no method of Determined any more, nor one here", mend)
        )


def _pool(document: Document) -> None:
    resources = document.get("resources")
    if isinstance(resources, dict) and resources.get("resource_pool") == "":
        del resources["resource_pool"]  # Determined's way to say the default


def _variables(document: Document) -> None:
    """Determined keeps a list of variables for each kind of device; one that was written for all of them is ours."""
    environment = document.get("environment")
    variables = environment.get("environment_variables") if isinstance(environment, dict) else None
    if isinstance(environment, dict) and isinstance(variables, dict) and set(variables) <= set(DEVICES):
        first, *others = (variables.get(device) or [] for device in DEVICES)
        if all(other == first for other in others):
            environment["environment_variables"] = first


def _entrypoint(result: Translation) -> None:
    words = words_of(result.document.get("entrypoint"))
    if len(words) == 1 and _TRIAL_CLASS.fullmatch(words[0]):
        mend = "write the loop as a script (docs/training-script.md), and its command here"
        result.problems.append(Problem("entrypoint", f"{words[0]} names a trial class of Determined", mend))
        return
    found = _LAUNCH.fullmatch(words[2]) if len(words) > 2 and words[1] == "-m" else None
    if found is None:
        return
    layer, rest = found[1], list(words[3:])
    if layer not in LAUNCHERS:
        mend = "launcher: torch or deepspeed, and the script's own command as entrypoint"
        result.problems.append(Problem("entrypoint", f"there is no launch layer {layer}", mend))
    elif "--" in rest and (options := rest[: rest.index("--")]):
        mend = "the agent starts one process a slot; remove them"
        result.problems.append(Problem("entrypoint", f"{' '.join(options)[:100]}: options of a launch layer", mend))
    elif rest[:1] == ["--trial"]:
        mend = "write the loop as a script (docs/training-script.md)"
        result.problems.append(Problem("entrypoint", "--trial names a trial class of Determined", mend))
    else:
        result.document["entrypoint"] = rest[1:] if rest[:1] == ["--"] else rest
        result.document.setdefault("launcher", LAUNCHERS[layer])

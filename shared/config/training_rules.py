"""Rules between the fields that say how a trial trains: launcher, slots, DeepSpeed. Like shared.config.rules, they look
at the raw document and leave wrong types to the types."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from shared.config.deepspeed import SHORT_KEYS, is_full
from shared.config.launcher import Launcher, default_launcher, own_launcher, words_of
from shared.errors import Problem

#: Their compressed communication replaces what ZeRO partitions; DeepSpeed gives up when it starts.
_ONE_BIT = ("onebitadam", "onebitlamb", "zerooneadam")


def _launcher_fits(document: dict[str, Any]) -> Iterator[Problem]:
    section, entrypoint = document.get("deepspeed"), document.get("entrypoint")
    slots = _slots(document)
    named = document.get("launcher")
    if named is not None and named not in list(Launcher):
        return
    launcher = (
        Launcher(named) if named else default_launcher(entrypoint, has_deepspeed=section is not None, num_slots=slots)
    )
    if launcher is Launcher.PLAIN and slots > 1:
        yield Problem(
            "launcher",
            f"plain starts one process per trial, and {slots - 1} of its {slots} slots would idle",
            "write launcher: torch, which starts one process a slot, or slots_per_trial: 1",
        )
    if launcher is not Launcher.DEEPSPEED and section is not None:
        mend = "write launcher: deepspeed, or leave out the section"
        yield Problem("launcher", f"{launcher} does not use the deepspeed section", mend)
    if launcher is not Launcher.PLAIN and (program := own_launcher(words_of(entrypoint))):
        yield Problem(
            "entrypoint",
            f"{program} starts ranks by itself, and so does the launcher {launcher}: one a slot",
            "name the script alone (python train.py), or write launcher: plain and slots_per_trial: 1",
        )


def _short_form(document: dict[str, Any]) -> Iterator[Problem]:
    section = _mapping(document.get("deepspeed"))
    if is_full(section):
        for key in sorted(set(section) & SHORT_KEYS):
            yield Problem(
                f"deepspeed.{key}",
                "belongs to the short form, but the section also holds DeepSpeed's own keys",
                "use one of the two: the short form, or a whole DeepSpeed configuration",
            )
    elif section.get("offload") == "cpu" and section.get("zero_stage", 1) == 0:
        yield Problem(
            "deepspeed.offload",
            "cpu needs zero_stage 1, 2 or 3: stage 0 keeps the whole optimizer on every device",
            "raise zero_stage or write offload: none",
        )


def _batch_sizes(document: dict[str, Any]) -> Iterator[Problem]:
    """Of the three sizes DeepSpeed works out those that are not given, and they must come out whole."""
    section = _mapping(document.get("deepspeed"))
    total, micro = section.get("train_batch_size"), section.get("train_micro_batch_size_per_gpu")
    factors = {
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": section.get("gradient_accumulation_steps"),
        "slots_per_trial": max(1, _slots(document)),
    }
    given = {name: number for name, number in factors.items() if number is not None}
    if type(total) is not int or any(type(number) is not int or number < 1 for number in given.values()):
        return
    product, is_whole = math.prod(given.values()), len(given) == len(factors)
    if (total != product) if is_whole else (total % product or total < product):
        said = " × ".join(f"{name} {number}" for name, number in given.items())
        relation = "is not" if is_whole else "is no multiple of"
        yield Problem("deepspeed.train_batch_size", f"{total} {relation} {said} = {product}")


def _zero_stage_allows(document: dict[str, Any]) -> Iterator[Problem]:
    """What DeepSpeed would refuse only when the ranks run: offloading and optimizers that the stage does not have."""
    section = _mapping(document.get("deepspeed"))
    zero = _mapping(section.get("zero_optimization"))
    stage = zero.get("stage", 0) if is_full(section) else section.get("zero_stage", 1)
    if type(stage) is not int:
        return
    if is_full(section) and not 0 <= stage <= 3:
        yield Problem("deepspeed.zero_optimization.stage", f"must be 0, 1, 2 or 3, found {stage}")
        return
    for name, lowest in (("offload_optimizer", 1), ("offload_param", 3)):
        offloads = _mapping(zero.get(name)).get("device", "none") != "none"
        if offloads and stage < lowest:
            message = f"needs ZeRO stage {lowest} or more, found stage {stage}"
            yield Problem(f"deepspeed.zero_optimization.{name}", message, f"write stage: {lowest}, or device: none")
        if _mapping(zero.get(name)).get("device") == "nvme" and not _mapping(zero.get(name)).get("nvme_path"):
            message = "device nvme needs nvme_path, a folder on the disk"
            yield Problem(f"deepspeed.zero_optimization.{name}.nvme_path", message)
    optimizer = str(_mapping(section.get("optimizer")).get("type", ""))
    if optimizer.lower() in _ONE_BIT and stage > 0:
        message = f"{optimizer} compresses what ZeRO partitions: it does not work with stage {stage}"
        yield Problem("deepspeed.optimizer.type", message, "write stage: 0, or use AdamW")


def _one_precision(document: dict[str, Any]) -> Iterator[Problem]:
    section = _mapping(document.get("deepspeed"))
    if all(_mapping(section.get(name)).get("enabled") is True for name in ("fp16", "bf16")):
        yield Problem("deepspeed.bf16", "cannot be enabled together with fp16", "keep one of them")


TRAINING_RULES: tuple[Callable[[dict[str, Any]], Iterator[Problem]], ...] = (
    _launcher_fits,
    _short_form,
    _batch_sizes,
    _zero_stage_allows,
    _one_precision,
)


def _slots(document: dict[str, Any]) -> int:
    slots = _mapping(document.get("resources")).get("slots_per_trial", 1)
    return slots if type(slots) is int else 1


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

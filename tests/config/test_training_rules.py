"""Which combinations of launcher, slots and DeepSpeed are refused before anything starts, and with which reason."""

import pytest

from shared.config import parse_experiment
from shared.config.launcher import Launcher
from shared.errors import Rejected

SEARCH = "searcher: {name: single, metric: loss}\n"


def problems(text: str) -> list[tuple[str, str]]:
    entrypoint = "" if "entrypoint:" in text else "entrypoint: python train.py\n"
    with pytest.raises(Rejected) as refusal:
        parse_experiment(entrypoint + SEARCH + text)
    return [(problem.path, problem.message) for problem in refusal.value.problems]


@pytest.mark.parametrize(
    ("text", "launcher"),
    [
        ("entrypoint: python train.py", Launcher.TORCH),
        ("entrypoint: python train.py\ndeepspeed: {zero_stage: 2}", Launcher.DEEPSPEED),
        ("entrypoint: bash run.sh", Launcher.PLAIN),
        ("entrypoint: [bash, run.sh]\nresources: {slots_per_trial: 2}", Launcher.TORCH),
        ("entrypoint: torchrun train.py", Launcher.PLAIN),
        ("entrypoint: python -m torch.distributed.run train.py", Launcher.PLAIN),
        ("entrypoint: python train.py\nlauncher: plain", Launcher.PLAIN),
    ],
)
def test_the_launcher_follows_from_the_entrypoint_unless_it_is_named(text: str, launcher: Launcher) -> None:
    assert parse_experiment(SEARCH + text).started_by is launcher


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("launcher: plain\nresources: {slots_per_trial: 3}", "launcher", "2 of its 3 slots would idle"),
        ("launcher: torch\ndeepspeed: {zero_stage: 1}", "launcher", "torch does not use the deepspeed section"),
        ("launcher: plain\ndeepspeed: {}", "launcher", "plain does not use the deepspeed section"),
        ("launcher: horovod", "launcher", "must be 'deepspeed', 'torch' or 'plain'"),
        ("entrypoint: deepspeed train.py\nlauncher: deepspeed", "entrypoint", "deepspeed starts ranks by itself"),
        ("entrypoint: torchrun t.py\nresources: {slots_per_trial: 2}", "entrypoint", "torchrun starts ranks by itself"),
        ("deepspeed: {zero_stage: 0, offload: cpu}", "deepspeed.offload", "cpu needs zero_stage 1, 2 or 3"),
        (
            "deepspeed: {zero_optimization: {stage: 2, offload_param: {device: cpu}}}",
            "deepspeed.zero_optimization.offload_param",
            "needs ZeRO stage 3 or more, found stage 2",
        ),
        (
            "deepspeed: {zero_optimization: {offload_optimizer: {device: cpu}}}",
            "deepspeed.zero_optimization.offload_optimizer",
            "needs ZeRO stage 1 or more, found stage 0",
        ),
        (
            "deepspeed: {zero_optimization: {stage: 1}, optimizer: {type: OneBitAdam}}",
            "deepspeed.optimizer.type",
            "OneBitAdam compresses what ZeRO partitions",
        ),
        ("deepspeed: {fp16: {enabled: true}, bf16: {enabled: true}}", "deepspeed.bf16", "together with fp16"),
        ("deepspeed: {zero_optimization: {stage: 4}}", "deepspeed.zero_optimization.stage", "must be 0, 1, 2 or 3"),
        (
            "deepspeed: {zero_optimization: {stage: 3, offload_param: {device: nvme}}}",
            "deepspeed.zero_optimization.offload_param.nvme_path",
            "needs nvme_path",
        ),
        (
            "deepspeed: {train_batch_size: 9}\nresources: {slots_per_trial: 2}",
            "deepspeed.train_batch_size",
            "9 is no multiple of slots_per_trial 2",
        ),
        (
            "deepspeed: {train_batch_size: 4, train_micro_batch_size_per_gpu: 8}",
            "deepspeed.train_batch_size",
            "4 is no multiple of train_micro_batch_size_per_gpu 8 × slots_per_trial 1 = 8",
        ),
        (
            "deepspeed: {train_batch_size: 8, train_micro_batch_size_per_gpu: 2, gradient_accumulation_steps: 2}",
            "deepspeed.train_batch_size",
            "8 is not train_micro_batch_size_per_gpu 2 × gradient_accumulation_steps 2 × slots_per_trial 1 = 4",
        ),
    ],
)
def test_what_does_not_go_together_is_named(text: str, path: str, message: str) -> None:
    ((found_path, found),) = problems(text)
    assert found_path == path and message in found


@pytest.mark.parametrize(
    "text",
    [
        "deepspeed: {zero_stage: 3, offload: cpu}",
        "deepspeed: {zero_optimization: {stage: 3, offload_param: {device: cpu}, offload_optimizer: {device: cpu}}}",
        "deepspeed: {zero_optimization: {stage: 1, offload_optimizer: {device: none}}, optimizer: {type: AdamW}}",
        "deepspeed: {optimizer: {type: OneBitAdam}, fp16: {enabled: true}, bf16: {enabled: false}}",
        "launcher: torch\nresources: {slots_per_trial: 2}",
        "deepspeed: {train_batch_size: 32, train_micro_batch_size_per_gpu: 4}\nresources: {slots_per_trial: 2}",
        "deepspeed: {train_batch_size: 32, gradient_accumulation_steps: 4}\nresources: {slots_per_trial: 2}",
    ],
)
def test_what_goes_together_is_accepted(text: str) -> None:
    parse_experiment("entrypoint: python train.py\n" + SEARCH + text)

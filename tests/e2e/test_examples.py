"""Every example runs as it is, on a real platform: one of each launcher, only shorter."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.platform import RunningPlatform

EXAMPLES = Path(__file__).parents[2] / "examples"


async def run(platform: RunningPlatform, target: Path, file: str, num_batches: int) -> dict[str, object]:
    """Submit an example with shorter trials, wait for its end and return what the API shows."""
    shutil.copytree(EXAMPLES / file.partition("/")[0], target)
    config = target / file.partition("/")[2]
    config.write_text(re.sub(r"batches: \d+", f"batches: {num_batches}", config.read_text()))
    submitted = platform.tm("submit", str(config), "--json")
    assert submitted.returncode == 0, submitted.stderr
    experiment_id = json.loads(submitted.stdout)["id"]

    def ended() -> dict[str, object] | None:
        shown = json.loads(platform.tm("show", experiment_id, "--json").stdout)
        return shown if shown["experiment"]["state"] in ("COMPLETED", "FAILED") else None

    found = await eventually(ended, timeout_s=120)
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("file", "num_batches", "metric", "at_least"),
    [
        ("plain/tumours.yaml", 100, "accuracy", 0.9),
        ("ddp/digits.yaml", 100, "accuracy", 0.85),
        ("gpt/gpt.yaml", 30, "validation_loss", 0.0),
    ],
)
async def test_an_example_learns(
    platform: RunningPlatform, tmp_path: Path, file: str, num_batches: int, metric: str, at_least: float
) -> None:
    shown = await run(platform, tmp_path / "example", file, num_batches)
    experiment = shown["experiment"]
    assert isinstance(experiment, dict)
    assert experiment["state"] == "COMPLETED", experiment
    best = experiment["best"]["metric"]
    assert best >= at_least
    if metric == "validation_loss":
        assert best < 4.5, "a uniform guess among 256 bytes is 5.5"
    checkpoints = json.loads(platform.tm("checkpoint", "ls", experiment["id"], "--json").stdout)
    files = {path["path"].partition("/")[0] for checkpoint in checkpoints for path in checkpoint["files"]}
    assert files >= {"plain/tumours.yaml": {"state.pt"}, "ddp/digits.yaml": {"state.pt"}}.get(file, {"state"})

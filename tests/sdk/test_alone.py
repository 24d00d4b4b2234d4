"""Scripts that nobody supervises: they print, keep their checkpoints, and train just the same."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sdk.conftest import ROOT, Warm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

DIGITS = ROOT / "examples" / "digits" / "train.py"


def test_the_digits_example_runs_alone(tmp_path: Path) -> None:
    """As a person would start it: `python train.py`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TM_", "WORLD_", "RANK"))}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(DIGITS)], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    accuracies = re.findall(r"^validation +step +\d+  accuracy ([\d.]+)", done.stdout, re.MULTILINE)
    assert float(accuracies[-1]) > 0.95, done.stdout
    assert done.stdout.splitlines()[-1] == "completed after step 600"
    saved = tmp_path / "trainmaster-checkpoints" / "step-600"
    assert {path.name for path in saved.iterdir()} == {"rng-rank-0.pt", "state"}


def test_a_step_may_take_several_batches(warm: Warm, tmp_path: Path, scripts: Path) -> None:
    gang = warm.start(scripts / "accumulation.py", tmp_path / "output", [{}])
    assert gang.join() == [0], gang.output


def test_too_few_batches_for_a_step_are_noticed(warm: Warm, tmp_path: Path, scripts: Path) -> None:
    gang = warm.start(scripts / "accumulation.py", tmp_path / "output", [{"MISTAKE": "one batch a step"}])
    assert gang.join() == [1]
    assert "step 1 ended before the optimizer moved: with gradient_accumulation_steps 2, take 2 batches" in gang.output

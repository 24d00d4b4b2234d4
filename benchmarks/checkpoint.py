"""How long a training loop stands still for a checkpoint, and how fast it is uploaded.

One trial saves the same state again and again. Measured in the same run: a plain write of that state to the same disk
(the copy time), `trial.checkpoint` (the loop's stall), and how long a checkpoint takes that blocks until it is stored.
Beside it the raw client uploads as many bytes, in as many files, from the same machine to the same store, without
verifying anything. At the end the same with TM_UPLOAD_MB_S, as with a slow store: the limit holds, the loop stands
still no longer, and only a next checkpoint that comes too early waits (back-pressure).
"""

import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from minio import Minio

from benchmarks.platform import Platform, platform
from benchmarks.report import Row, show
from trainmaster.cli.options import json_option

SCRIPT = Path(__file__).parent / "scripts" / "checkpoint.py"
NUM_FILES = 4
LIMIT_MB_S = 25.0


@click.command()
@click.option("--megabytes", default=256, show_default=True, help="Size of the state.")
@click.option("--runs", default=5, show_default=True)
@json_option
def main(megabytes: int, runs: int, *, as_json: bool) -> None:
    """Measure and print the table."""
    with platform("cpu:1") as running:
        free = _saves(running, megabytes, runs)
        raw = tuple(_raw_upload_mb_per_s(running, megabytes) for _ in range(runs))
    with platform("cpu:1", {"TM_UPLOAD_MB_S": str(LIMIT_MB_S)}) as running:
        limited = _saves(running, megabytes, 1)
    rows = [
        _row("blocking: save, upload, stored", "s", free, "blocking_s"),
        _row("stall of the loop: trial.checkpoint", "s", free, "stalled_s"),
        _row("copy time: the same state to local disk", "s", free, "copy_s"),
        _row(f"stall, store that takes {LIMIT_MB_S:g} MB/s", "s", limited, "stalled_s"),
        _row(f"next checkpoint waits, store that takes {LIMIT_MB_S:g} MB/s", "s", limited, "blocking_s"),
        Row(what="raw client's upload", unit="MB/s", values=raw),
        Row(what="checkpoint's upload", unit="MB/s", values=_uploads_mb_per_s(free, megabytes)),
        Row(what="checkpoint's upload, limited", unit="MB/s", values=_uploads_mb_per_s(limited, megabytes)),
    ]
    show(f"checkpoint of {megabytes} MB", rows, as_json=as_json)


def _saves(running: Platform, megabytes: int, runs: int) -> list[dict[str, float]]:
    config = {
        "name": "checkpoint",
        "entrypoint": f"python {SCRIPT.name}",
        "launcher": "torch",
        "searcher": {"name": "single", "metric": "loss"},
        "hyperparameters": {"megabytes": megabytes, "runs": runs},
        "checkpoint_policy": "none",
    }
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / SCRIPT.name).write_text(SCRIPT.read_text())
        experiment_id = running.submit(config, Path(directory))
    running.wait_for(experiment_id)
    lines = running.log_lines(f"{experiment_id}-1")
    return [json.loads(line) for line in lines if line.startswith("{")]


def _uploads_mb_per_s(saves: list[dict[str, float]], megabytes: int) -> tuple[float, ...]:
    return tuple(megabytes / (save["blocking_s"] - save["stalled_s"]) for save in saves)


def _raw_upload_mb_per_s(running: Platform, megabytes: int) -> float:
    client = _client(running)
    if not client.bucket_exists("raw"):
        client.make_bucket("raw")
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / f"part-{number}" for number in range(NUM_FILES)]
        for path in paths:
            path.write_bytes(b"x" * (megabytes * 1_000_000 // NUM_FILES))
        started_at = time.monotonic()
        with ThreadPoolExecutor(NUM_FILES) as pool:
            list(pool.map(lambda path: client.fput_object("raw", path.name, str(path)), paths))
        return megabytes / (time.monotonic() - started_at)


def _client(running: Platform) -> Minio:
    port = json.loads((running.data / "ports.json").read_text())["s3"]
    keys = json.loads((running.data / "credentials.json").read_text())
    return Minio(
        f"127.0.0.1:{port}",
        access_key=keys["s3_access_key"],
        secret_key=keys["s3_secret_key"],
        secure=False,
        region="us-east-1",
    )


def _row(what: str, unit: str, saves: list[dict[str, float]], name: str) -> Row:
    return Row(what=what, unit=unit, values=tuple(save[name] for save in saves))

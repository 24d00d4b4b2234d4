"""The S3 server: rclone serving a directory. Keys travel in its environment, where `ps` does not show them."""

from functools import partial
from pathlib import Path

from shared.settings import S3Settings
from trainmaster.embedded.probe import http_status
from trainmaster.embedded.program import HOST, Program, bundled

BUCKET = "trainmaster"
REGION = "us-east-1"


def s3_settings(port: int, access_key: str, secret_key: str) -> S3Settings:
    """Return how clients reach the server."""
    return S3Settings(
        endpoint=f"http://{HOST}:{port}", access_key=access_key, secret_key=secret_key, bucket=BUCKET, region=REGION
    )


def s3_program(directory: Path, port: int, access_key: str, secret_key: str) -> Program:
    """Return how to serve a directory, whose subdirectories are the buckets."""
    directory.mkdir(parents=True, exist_ok=True)
    return Program(
        name="s3",
        argv=(bundled("rclone"), "serve", "s3", "--addr", f"{HOST}:{port}", "--log-level", "NOTICE", str(directory)),
        probe=partial(_probe, port),
        env={
            "RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"',
            "RCLONE_CONFIG": "/dev/null",  # a user's own remotes are none of ours
            "GOGC": "50",
        },
    )


async def _probe(port: int) -> None:
    await http_status(port, "/")  # any answer will do: without credentials it is a refusal

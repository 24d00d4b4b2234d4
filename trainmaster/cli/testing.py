"""tm check, test: what the continuous integration runs, the same on every machine."""

import os
import shutil
import subprocess
import sys
import time

import click

from trainmaster.cli.checkout import ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHECKS = {
    "format": ("-m", "ruff", "format", "--check", "."),
    "lint": ("-m", "ruff", "check", "."),
    "types": ("-m", "mypy"),
    "imports": ("-c", "from importlinter.cli import lint_imports_command as main; main()"),
}


@click.command()
def check() -> None:
    """Check format, lint, types and import rules."""
    if not _check_all():
        raise SystemExit(1)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--compose", is_flag=True, help="Instead, run the team deployment on a Docker engine: half an hour.")
@click.argument("pytest_args", nargs=-1, type=click.UNPROCESSED)
def test(pytest_args: tuple[str, ...], *, compose: bool) -> None:
    """Run the checks and all tests; what is written after it goes to pytest."""
    if compose:
        os.environ["TM_TEST_COMPOSE"] = "1"
        raise SystemExit(_run(("-m", "pytest", "tests/compose", "-s", *pytest_args)))
    checked = _check_all()
    _ensure_browser()
    passed = _run(("-m", "pytest", *pytest_args)) == 0
    if not checked:
        click.echo("a check failed; see the top", err=True)
    raise SystemExit(not (checked and passed))


def _check_all() -> bool:
    failed = []
    for name, command in CHECKS.items():
        started = time.monotonic()
        code = _run(command)
        click.echo(f"{'ok    ' if code == 0 else 'FAILED'} {name} ({time.monotonic() - started:.1f} s)", err=True)
        if code != 0:
            failed.append(name)
    return not failed


def _run(arguments: tuple[str, ...]) -> int:
    return subprocess.run((sys.executable, *arguments), cwd=ROOT).returncode


def _ensure_browser() -> None:
    """Install Chromium for the tests of the page where that is possible."""
    if any(map(shutil.which, BROWSERS)):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        click.echo("SKIPPED the tests of the page: there is no Chromium. Install it: apt install chromium", err=True)
        return
    click.echo("installing Chromium for the tests of the page", err=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (("update",), ("install", "-y", "--no-install-recommends", "chromium")):
        done = subprocess.run(("apt-get", "-qq", *command), stdout=subprocess.DEVNULL, env=environment)
        if done.returncode != 0:
            click.echo("SKIPPED the tests of the page: apt-get could not install chromium", err=True)
            return

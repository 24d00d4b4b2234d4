"""Where a checkpoint may be downloaded to."""

import os
from pathlib import Path

import click
import pytest

from trainmaster.cli.checkpoints import claim


def test_a_new_and_an_empty_folder_are_taken(tmp_path: Path) -> None:
    claim(tmp_path, force=False)
    claim(tmp_path / "new" / "deep", force=False)
    assert (tmp_path / "new" / "deep").is_dir()


def test_a_folder_that_holds_something_is_taken_by_force_only(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(click.ClickException, match="is not empty"):
        claim(tmp_path, force=False)
    claim(tmp_path, force=True)


def test_a_target_that_cannot_be_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(click.ClickException, match="cannot be written"):
            claim(target, force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(click.ClickException, match="permission denied"):
        claim(tmp_path, force=False)

"""Universal forms of checkpoints: made once, found by the next attempt."""

import os
from pathlib import Path

import pytest

from services.worker import conversions
from services.worker.conversions import Conversions


def attempt(kept: Conversions, directory: Path, checkpoint: str, *, converts: bool = True) -> str | None:
    """Return what an attempt finds beside its checkpoint; if nothing, it converts."""
    (directory / checkpoint).mkdir(parents=True)
    with kept.beside(directory / checkpoint):
        form = directory / f"{checkpoint}-universal"
        if (form / "converted").exists():
            return (form / "state").read_text()
        form.mkdir()
        (form / "state").write_text(f"by {directory.name}")
        if converts:
            (form / "converted").touch()
    return None


def test_what_one_attempt_converts_the_next_finds(tmp_path: Path) -> None:
    kept = Conversions(tmp_path / "universal")
    assert attempt(kept, tmp_path / "first", "c1", converts=False) is None
    assert attempt(kept, tmp_path / "second", "c1") is None
    assert attempt(kept, tmp_path / "third", "c1") == "by second"
    assert attempt(Conversions(tmp_path / "universal"), tmp_path / "after a restart", "c1") == "by second"


def test_only_the_newest_is_kept_and_none_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Conversions(tmp_path / "universal")
    attempt(kept, tmp_path / "first", "c1")
    os.utime(tmp_path / "universal" / "c1", (1, 1))
    attempt(kept, tmp_path / "second", "c2")
    assert [form.name for form in (tmp_path / "universal").iterdir()] == ["c2"]
    monkeypatch.setattr(conversions, "LEAST_FREE_SHARE", 1.0)
    attempt(kept, tmp_path / "third", "c3")
    assert list((tmp_path / "universal").iterdir()) == []


def test_what_somebody_uses_is_not_taken_away(tmp_path: Path) -> None:
    kept = Conversions(tmp_path / "universal")
    attempt(kept, tmp_path / "first", "c1")
    os.utime(tmp_path / "universal" / "c1", (1, 1))
    (tmp_path / "second" / "c1").mkdir(parents=True)
    with kept.beside(tmp_path / "second" / "c1"):
        os.utime(tmp_path / "universal" / "c1", (1, 1))
        attempt(kept, tmp_path / "third", "c2")
        assert (tmp_path / "second" / "c1-universal" / "converted").exists()
    assert [form.name for form in (tmp_path / "universal").iterdir()] == ["c2"]

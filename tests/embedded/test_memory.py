"""Who is whose child, as the kernel says."""

from pathlib import Path

import pytest

from trainmaster.embedded import memory


@pytest.mark.parametrize("name", [b"python", "длинное-имя".encode()[:15], b"\xff", b"a) R (b"])
def test_the_name_of_a_process_may_be_any_bytes(tmp_path: Path, name: bytes) -> None:
    for pid, parent_pid in ((7, 1), (8, 7)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_bytes(b"%d (%s) S %d 7 7 0 -1\n" % (pid, name, parent_pid))
    assert memory.children(tmp_path) == {1: [7], 7: [8]}

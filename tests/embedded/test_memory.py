"""Who is whose child, and what each takes, as far as the kernel says."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.test_concealed import like_any_user
from trainmaster.embedded import memory


@pytest.mark.parametrize("name", [b"python", "длинное-имя".encode()[:15], b"\xff", b"a) R (b"])
def test_the_name_of_a_process_may_be_any_bytes(tmp_path: Path, name: bytes) -> None:
    for pid, parent_pid in ((7, 1), (8, 7)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_bytes(b"%d (%s) S %d 7 7 0 -1\n" % (pid, name, parent_pid))
    assert memory.children(tmp_path) == {1: [7], 7: [8]}


CONCEALED = """
import subprocess, sys
from trainmaster.embedded.memory import pss_bytes
code = "import sys; from services.worker.concealed import conceal; conceal(); print(flush=True); sys.stdin.read()"
with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
    process.stdout.readline()
    print(pss_bytes({"agent": process.pid})["agent"])
    process.stdin.close()
"""


def test_of_a_process_that_conceals_itself_the_resident_set_is_told() -> None:
    found = subprocess.run(
        (sys.executable, "-c", CONCEALED), preexec_fn=like_any_user, capture_output=True, text=True, check=True
    )
    assert 1e6 < int(found.stdout) < 1e9

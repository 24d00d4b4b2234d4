"""How values are shown to people."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from trainmaster.cli.output import figures, number, print_table, size
from trainmaster.cli.trials import texts
from trainmaster.client.shapes import LogLine


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.123456, "0.1235"), (1e-7, "1e-07"), (3, "3"), ("relu", "relu"), (True, "True")]
)
def test_number(value: object, text: str) -> None:
    assert number(value) == text


def test_in_a_pipe_a_table_is_neither_wrapped_nor_padded(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    print_table(("A", "B"), [("one", long), ("longer", None)])
    assert capsys.readouterr().out == f"A       B\none     {long}\nlonger  -\n"


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_no_line_of_a_table_is_wider_than_it_and_nothing_is_left_out(columns: int) -> None:
    """In a process of its own, whose stdout is a terminal of that width."""
    words = [f"word{number}" for number in range(30)]
    program = f"from trainmaster.cli.output import print_table; print_table(('A', 'B'), [('one', {' '.join(words)!r})])"
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    subprocess.run([sys.executable, "-c", program], stdout=its, check=True, timeout=60, env=environment)
    os.close(its)
    shown = re.sub(rb"\x1b\[[0-9;]*m", b"", os.read(ours, 65536)).decode().splitlines()
    os.close(ours)
    assert len(shown) > 2 and max(map(len, shown)) <= columns
    assert [word for line in shown[1:] for word in line.removeprefix("one").split()] == words


def test_a_line_stands_between_two_attempts() -> None:
    def line(epoch: int, text: str) -> LogLine:
        return LogLine(seq=1, time="2026-01-31T12:00:00+00:00", rank=0, epoch=epoch, stream="stdout", text=text)

    shown = list(texts([line(1, "a"), line(1, "b"), line(2, "c")]))
    assert [text.rpartition(" ")[2] for text in shown] == ["a", "b", "────", "c"]
    assert "attempt 2" in shown[2]


def test_nested_hyperparameters_are_joined_by_dots() -> None:
    assert figures({"lr": 0.1, "net": {"width": 64, "kind": "mlp"}}) == "lr=0.1 net.width=64 net.kind=mlp"


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (12_300, "12.3 kB"), (4_000_000, "4 MB"), (7_250_000_000, "7.25 GB")],
)
def test_size(num_bytes: int, text: str) -> None:
    assert size(num_bytes) == text

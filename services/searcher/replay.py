"""Recompute an experiment's search from the log: a process of its own, started by `tm search replay`.

Standard input holds the log as `/api/v1/events/raw` or `tm export` gives it: a JSON document a line with `seq`,
`subject` and `body`. Exit code 1 says that something does not follow.
"""

import argparse
import sys
import time
from collections.abc import Iterable

import msgspec

from services.searcher import suggestions
from services.searcher.reproduction import Findings, Reproduction
from shared import log
from shared.codec import Undecodable
from shared.ids import ExperimentId
from shared.log import Message, Recorded

NOTICE_S = 2.0
_NOT_STORED = 0  # when an event was stored plays no part


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the log; an export's last line has none."""

    seq: int = 0
    subject: str = ""
    body: bytes = b""


_decoder = msgspec.json.Decoder(_Line)


def main() -> None:
    """Read the log and print the findings."""
    parser = argparse.ArgumentParser(prog="tm search replay")
    parser.add_argument("experiment")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with suggestions.computing() as compute:
        reproduction = Reproduction(ExperimentId(options.experiment), compute)
        findings = _read(sys.stdin.buffer, reproduction)
    sys.stdout.write((msgspec.json.encode(findings).decode() if options.json else text(findings)) + "\n")
    raise SystemExit(findings.num_reproduced < findings.num_decisions or not findings.num_decisions)


def _read(lines: Iterable[bytes], reproduction: Reproduction) -> Findings:
    noticed = time.monotonic()
    for num_read, line in enumerate(lines, start=1):
        if recorded := _recorded(_decoder.decode(line)):
            reproduction.read(recorded)
        if sys.stderr.isatty() and time.monotonic() > noticed + NOTICE_S:
            noticed, found = time.monotonic(), reproduction.findings
            sys.stderr.write(f"{num_read:,} events read, {found.num_reproduced:,} decisions reproduced\n")
    return reproduction.finish()


def _recorded(line: _Line) -> Recorded | None:
    """Return the event of a line; None for what the deciders set aside as well."""
    message = Message(seq=line.seq, subject=line.subject, body=line.body, stored_ns=_NOT_STORED)
    try:
        return log.decode_recorded(message)
    except (Undecodable, ValueError):
        return None


def text(findings: Findings) -> str:
    """Return the findings for people."""
    if not findings.num_decisions:
        return f"the log holds no decision about experiment {findings.experiment_id}"
    suggested = f", {findings.num_suggestions:,} suggestions of a model included" if findings.num_suggestions else ""
    counted = f"{findings.num_reproduced:,} of {findings.num_decisions:,} decisions"
    lines = [f"{counted} about experiment {findings.experiment_id} are reproduced, byte for byte{suggested}"]
    if findings.num_unplaced:
        lines.append(f"{findings.num_unplaced:,} do not say from what they were decided; an older program wrote them")
    if difference := findings.first_difference:
        lines.append(f"the first that is not: event {difference.seq}, {difference.name}: {difference.text}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

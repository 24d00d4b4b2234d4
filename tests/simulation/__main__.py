"""Run the whole-cluster simulation over many seeds: `tm simulate-faults`."""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, field

from tests.simulation.cluster import Cluster

PROGRESS_SEEDS = 500


@dataclass
class Findings:
    """What came of it. A seed in `violations` replays exactly."""

    seeds: int = 0
    events: int = 0
    faults: int = 0
    refused_appends: int = 0
    seconds: float = 0.0
    violations: dict[int, str] = field(default_factory=dict)

    def add(self, seed: int) -> None:
        """Run one seed."""
        cluster = Cluster(seed)
        try:
            cluster.run()
        except AssertionError as error:
            self.violations[seed] = str(error)
        self.seeds += 1
        self.events += len(cluster.log.events)
        self.faults += cluster.num_faults
        self.refused_appends += cluster.log.num_conflicts


def main() -> None:
    """Run the seeds; exit 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="tm simulate-faults")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    findings, started = Findings(), time.monotonic()
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        findings.add(seed)
        if findings.seeds % PROGRESS_SEEDS == 0:
            sys.stderr.write(f"{findings.seeds} seeds, {len(findings.violations)} violations\n")
    findings.seconds = round(time.monotonic() - started, 1)
    sys.stdout.write((json.dumps(asdict(findings)) if options.json else _text(findings)) + "\n")
    sys.exit(bool(findings.violations))


def _text(findings: Findings) -> str:
    lines = [f"{name.replace('_', ' ')}: {value:,}" for name, value in asdict(findings).items() if name != "violations"]
    lines += [f"VIOLATED with --first-seed {seed}: {what}" for seed, what in findings.violations.items()]
    return "\n".join([*lines, f"violations: {len(findings.violations)}"])


if __name__ == "__main__":
    main()

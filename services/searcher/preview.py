"""The preview of an experiment file as text or JSON: a process of its own, started by `tm preview`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from services.searcher.simulate import Preview, Script, Scripted, preview
from shared.config import parse_experiment
from shared.config.experiment import Reproducibility
from shared.errors import Problem, Rejected

TRENDS = ("improving", "worsening", "constant", "random")
BAR_WIDTH = 40
_FORMS = 'a trial is {"metric": 0.1}, or {"metrics": {"100": 0.5, "300": 0.4}}; it may have "exits_at": 300'


def main() -> None:
    """Print the preview; exit 1 with every mistake in the files on stderr."""
    parser = argparse.ArgumentParser(prog="tm preview")
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trend", choices=TRENDS, default="random")
    parser.add_argument("--metrics", type=Path)
    parser.add_argument("--report-every", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        found = _preview(options)
    except (Rejected, OSError) as error:
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(1) from error
    sys.stdout.write((json.dumps(found.as_json()) if options.json else text(found)) + "\n")


def _preview(options: argparse.Namespace) -> Preview:
    experiment = parse_experiment(options.file.read_text(errors="replace"))
    if options.seed is not None:
        unseeded = experiment.model_copy(update={"reproducibility": Reproducibility()})
        experiment = unseeded.with_seed(options.seed)
    script = Script(
        trend=options.trend,
        seed=experiment.seed,
        smaller_is_better=experiment.searcher.smaller_is_better,
        trials=read_metrics(options.metrics.read_text(errors="replace")) if options.metrics else None,
    )
    return preview(experiment, script, options.report_every)


def read_metrics(written: str) -> list[Scripted]:
    """Return what a metrics file says of each trial. Raises Rejected with every mistake in it."""
    try:
        document = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"the metrics file is no JSON: {error}") from error
    entries = document.get("trials") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise Rejected('the metrics file must be a mapping with a list "trials"', (Problem("trials", _FORMS),))
    problems = tuple(
        Problem(f"trials[{number}]", _FORMS) for number, entry in enumerate(entries) if not _is_scripted(entry)
    )
    if problems:
        raise Rejected("the metrics file has mistakes", problems[:20])
    return [_scripted(entry) for entry in entries]


def _is_scripted(entry: object) -> bool:
    if not isinstance(entry, dict) or not set(entry) <= {"metric", "metrics", "exits_at"}:
        return False
    metrics, exits_at = entry.get("metrics", {}), entry.get("exits_at", 1)
    has_one_kind = ("metric" in entry) + ("metrics" in entry) == 1 or set(entry) == {"exits_at"}
    return (
        has_one_kind
        and _is_number(entry.get("metric", 0.0))
        and isinstance(metrics, dict)
        and all(key.isascii() and key.isdigit() and len(key) < 19 and _is_number(metrics[key]) for key in metrics)
        and type(exits_at) is int
        and exits_at >= 1
    )


def _is_number(value: object) -> bool:
    most = sys.float_info.max
    return isinstance(value, int | float) and not isinstance(value, bool) and -most <= value <= most


def _scripted(entry: dict[str, Any]) -> Scripted:
    metrics = {int(units): float(metric) for units, metric in entry.get("metrics", {}).items()}
    return Scripted(metric=entry.get("metric"), metrics=metrics, exits_at=entry.get("exits_at"))


def text(found: Preview) -> str:
    """Return the preview for people: a bar for each rung, then what it adds up to, and what will be different."""
    lines = []
    for number, (plan, counts) in enumerate(found.brackets, start=1):
        slots = f"{plan.num_concurrent} at a time"
        lines.append(f"bracket {number} of {len(found.brackets)}: {_trials(plan.num_trials)}, {slots}")
        for units, count in zip(plan.units, counts, strict=True):
            bar = "█" * max(1 if count else 0, round(BAR_WIDTH * count / max(1, plan.num_trials)))
            length = f"{units:,} units" if units else "as long as the script trains"
            lines.append(f"  {length:>16}  {bar:<{BAR_WIDTH}}  {_trials(count)}")
    ends = [trial.end for trial in found.trials]
    told = ", ".join(f"{ends.count(end):,} {end}" for end in ("completed", "stopped", "exited") if end in ends)
    lines.append(f"{_trials(len(found.trials))}: {told}")
    if found.total_units is not None:
        lines.append(f"{found.total_units:,} units of training in all")
    return "\n".join([*lines, *found.notes])


def _trials(count: int) -> str:
    return f"{count:,} trial{'s' * (count != 1)}"


if __name__ == "__main__":
    main()

"""`tm simulate FILE`: the scheduler's own decisions without a cluster. See docs/simulate.md."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from services.scheduler import scenario
from services.scheduler.charts import chart
from services.scheduler.measure import table
from services.scheduler.pool import pool_policy
from services.scheduler.reasons import sentence
from services.scheduler.scenario import Scenario
from services.scheduler.simulated import SimulatedPool
from services.scheduler.trace import Trace
from shared.errors import Problem, Rejected
from shared.events import PoolPolicy

Report = dict[str, object]


def simulate(asked: Scenario) -> Report:
    """Run a scenario's steps, or its trace. Raises Rejected, naming the field that is wrong."""
    pool = SimulatedPool(policy=asked.policy.value())
    pool.add_agents(asked.agents, "agents")
    if not asked.steps:
        return run_trace(asked, asked.policy.value()).report()
    pool.add_jobs(asked.jobs, asked.trials, "jobs")
    pool.add_trials(asked.trials, "trials")
    steps = [_take(pool, step, f"steps[{index}]") for index, step in enumerate(asked.steps)]
    return {"steps": steps, "refused": dict(pool.refused)}


def run_trace(asked: Scenario, policy: PoolPolicy) -> Trace:
    """Run a scenario's trace under a policy. Raises Rejected when it has steps, or a trial no duration."""
    if asked.steps:
        mistake = Problem("steps", "only a trace (a file without steps) can be drawn and compared")
        raise Rejected("the simulation file is no trace", (mistake,))
    pool = SimulatedPool(policy=policy)
    pool.add_agents(asked.agents, "agents")
    pool.add_jobs(asked.jobs, sorted(asked.trials, key=lambda trial: trial.submit_s), "jobs")
    trace = Trace(pool=pool)
    trace.run(asked.trials)
    return trace


def compare(asked: Scenario, policies: Sequence[str]) -> dict[str, Trace]:
    """Run a trace under its own policy and others, as TM_POOL_POLICY names them. Raises Rejected."""
    try:
        others = {text: pool_policy(text) for text in policies}
    except ValueError as error:
        raise Rejected(str(error)) from error
    return {name: run_trace(asked, policy) for name, policy in {"the file's": asked.policy.value(), **others}.items()}


def _take(pool: SimulatedPool, step: scenario.AnyStep, path: str) -> Report:  # noqa: C901 # one case per operation
    """Take one step and report it."""
    report: Report = {"op": step.__struct_config__.tag}
    match step:
        case scenario.Schedule():
            plan = pool.run_pass()
            waiting = {trial_id: sentence(reason) for trial_id, reason in plan.waiting.items()}
            report |= {"allocate": plan.allocate, "release": list(plan.release), "waiting": waiting}
            report |= {"released_for": {victim: by for victim, by in plan.release.items() if by}}
        case scenario.Start():
            stopped = list(pool.plan.release)
            report |= {"started": pool.start(), "stopped": stopped}
        case scenario.AddTrials():
            before = set(pool.refused)
            pool.add_jobs(step.jobs, step.trials, f"{path}.jobs")
            pool.add_trials(step.trials, f"{path}.trials")
            report |= {"refused": {name: why for name, why in pool.refused.items() if name not in before}}
        case scenario.Finish():
            pool.finish(step.trials, f"{path}.trials")
        case scenario.Stop():
            pool.stop(step.trials, f"{path}.trials")
        case scenario.Move():
            pool.move(step, path)
        case scenario.Set():
            pool.set(step, path)
        case scenario.AddAgents():
            pool.add_agents(step.agents, f"{path}.agents")
        case scenario.Lose():
            pool.lose_agent(step.agent, f"{path}.agent")
        case scenario.Drain() | scenario.Disable() | scenario.Enable():
            enabled, draining = not isinstance(step, scenario.Disable), isinstance(step, scenario.Drain)
            pool.change_agent(step.agent, f"{path}.agent", enabled=enabled, draining=draining)
        case _:
            assert_never(step)
    return report


def main() -> None:
    """Simulate a file; exit 1 with every mistake when it cannot be read."""
    parser = argparse.ArgumentParser(prog="tm simulate")
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--compare", action="append", default=[], metavar="POLICY")
    parser.add_argument("--chart", type=Path)
    options = parser.parse_args()
    try:
        asked = scenario.read(options.file.read_text())
        if options.chart:
            chart.writer_of(options.chart)
        if options.compare or options.chart:
            _show(compare(asked, options.compare), options)
            return
        report = simulate(asked)
    except UnicodeDecodeError as error:
        sys.stderr.write(f"Error: {options.file.name} is no text in UTF-8: byte {error.start}\n")
        sys.exit(1)
    except (Rejected, OSError) as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(1)
    sys.stdout.write((json.dumps(report, indent=2) if options.json else _text(report)) + "\n")


def _show(traces: dict[str, Trace], options: argparse.Namespace) -> None:
    figures = {name: trace.figures() for name, trace in traces.items()}
    if options.chart:
        waits_s = {name: trace.waits_s() for name, trace in traces.items()}
        chart.write(options.chart, figures, waits_s, options.file.name)
    if options.json:
        sys.stdout.write(json.dumps({name: trace.report() for name, trace in traces.items()}, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(table(figures)) + "\n")


def _text(report: Report) -> str:
    steps = report.get("steps")
    if not isinstance(steps, list):
        return "\n".join(_lines(report))
    lines = [
        line for number, step in enumerate(steps, 1) for line in (f"{number}. {step.pop('op')}", *_lines(step, "   "))
    ]
    return "\n".join([*lines, *_lines({"refused": report["refused"]})])


def _lines(values: Report, indent: str = "") -> list[str]:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            lines.append(f"{indent}{name.replace('_', ' ')}:")
            lines += [f"{indent}  {key}: {_short(item)}" for key, item in value.items()]
        elif value or isinstance(value, int | float):
            lines.append(f"{indent}{name.replace('_', ' ')}: {_short(value)}")
    return lines


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()

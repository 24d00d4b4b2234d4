"""What it costs the scheduler to explain its queue: the order of everybody who waits and what is foreseen of them (kept
ten times as long as it took), and on top of it the reasons of a page of 200, and of the last trial alone."""

import time

import click

from benchmarks.report import Row, show
from benchmarks.scheduler.fleet import Fleet, saturated
from services.scheduler.explain import Line, line_up, matching, page, tell
from shared.queue import QueueQuestion
from trainmaster.cli.options import json_option

TRIALS_PER_JOB = 100
PAGE = 200
TIMES = 5


@click.command()
@json_option
@click.option("--policy", default="priority preemption", show_default=True, help="As in TM_POOL_POLICY.")
@click.option("--waiting", type=int, multiple=True, default=(1_000, 10_000, 100_000), help="Trials that wait.")
def main(*, as_json: bool, policy: str, waiting: tuple[int, ...]) -> None:
    """Measure and print the table; a tenth as many agents of 8 slots as trials wait, all of them taken."""
    rows: list[Row] = []
    for number in waiting:
        fleet = saturated(policy, max(10, number // 10), number, TRIALS_PER_JOB)
        orders = tuple(_order_ms(fleet) for _ in range(TIMES))
        rows += [
            Row(what=f"{number:,} wait: their order", unit="ms", values=orders),
            Row(what=f"{number:,} wait: a page of {PAGE}", unit="ms", values=_pages_ms(fleet, 0, PAGE)),
            Row(what=f"{number:,} wait: the last trial", unit="ms", values=_pages_ms(fleet, number - 1, 1)),
        ]
    show(f"explaining a queue, {policy}", rows, as_json=as_json)


def _lines(fleet: Fleet) -> list[Line]:
    return line_up(fleet.state, fleet.engine.inspect(fleet.state, fleet.now()), fleet.now())


def _order_ms(fleet: Fleet) -> float:
    began = time.perf_counter()
    _lines(fleet)
    return 1000 * (time.perf_counter() - began)


def _pages_ms(fleet: Fleet, after: int, limit: int) -> tuple[float, ...]:
    lines, took = _lines(fleet), []
    for _ in range(TIMES):
        began = time.perf_counter()
        books = fleet.engine.inspect(fleet.state, fleet.now())
        told = list(tell(fleet.state, books, page(matching(lines, QueueQuestion()), after, limit)))
        took.append(1000 * (time.perf_counter() - began))
        assert told and all(told), "somebody who waits is not explained"
    return tuple(took)


if __name__ == "__main__":
    main()

"""Search methods compared: quality per evaluation, with parallel workers, and what a suggestion costs.

Every search is kept in results/ as one line, so a run that is broken off goes on where it stopped, and the tables and
plots can be made again from what is there. Peers' interpreters import this package, too: it needs click.
"""

import click


@click.command()
@click.option(
    "--part",
    "parts",
    type=click.Choice(["quality", "parallel", "latency", "report"]),
    multiple=True,
    help="All but report by default, which only writes what is kept.",
)
@click.option("--problem", "problems", multiple=True, help="All by default.")
@click.option("--method", "methods", multiple=True, help="All by default; bayesian_lhs and bayesian_random, too.")
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True)
@click.option("--fresh", is_flag=True, help="Forget what was measured before.")
def main(
    *,
    parts: tuple[str, ...],
    problems: tuple[str, ...],
    methods: tuple[str, ...],
    seeds: int,
    processes: int,
    fresh: bool,
) -> None:
    """Compare our search methods with Optuna's and scikit-optimize's; hours for everything, seconds for a part."""
    from benchmarks.search.compare import compare  # not for the peers' interpreter

    compare(parts, problems, methods, seeds=seeds, processes=processes, fresh=fresh)

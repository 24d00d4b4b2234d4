"""Multi-fidelity search compared on learning curves: how many epochs a method takes to random search's final quality.

The peers' interpreter imports this package too: it has click and numpy, and none of ours.
"""

import click


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True, help="How often each search is run.")
@click.option("--method", "methods", multiple=True, help="Only this one; may be given again.")
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True, help="How many at a time.")
@click.option("--write", is_flag=True, help="Keep the results, and write docs/benchmarks/multi-fidelity.md.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(*, seeds: int, methods: tuple[str, ...], processes: int, write: bool, as_json: bool) -> None:
    """Run the searches that are not kept yet, and print the table."""
    from benchmarks.multi_fidelity import contest  # not for the peers' interpreter

    contest.hold(seeds=seeds, methods=methods, num_processes=processes, write=write, as_json=as_json)

"""Tables of what was measured: medians and quartiles, and whether the best may be so by chance."""

import statistics
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from scipy.stats import mannwhitneyu

from benchmarks.search.problems import PROBLEMS
from benchmarks.search.store import Outcome

OURS = "bayesian"
SIGNIFICANT = 0.05


def quality(outcomes: Sequence[Outcome], budgets: Sequence[int], title: str) -> str:
    """Print, for each problem and method, the regret after some evaluations, and the verdict about the last.

    Return the same as Markdown.
    """
    heads = ["problem", "method", "seeds", *(f"{budget} evaluations" for budget in budgets), ""]
    table = Table(*heads, title=title)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for problem in PROBLEMS:
        groups = _by_method(outcome for outcome in outcomes if outcome.cell.problem == problem)
        floor = PROBLEMS[problem].optimum or 0.0
        for method, found in sorted(groups.items(), key=lambda item: _median(item[1], budgets[-1])):
            cells = [_quartiles([outcome.best(budget) - floor for outcome in found]) for budget in budgets]
            row = [problem, method, str(len(found)), *cells, verdict_of(groups, method, budgets[-1])]
            table.add_row(*row)
            lines.append(f"| {' | '.join(row)} |")
        table.add_section()
    Console(width=130).print(table)
    return "\n".join(lines)


def verdict_of(groups: dict[str, list[Outcome]], method: str, budget: int) -> str:
    """Return how our method compares with another after the last evaluation: Mann-Whitney, two-sided."""
    if method == OURS or OURS not in groups:
        return ""
    ours = [outcome.best(budget) for outcome in groups[OURS]]
    theirs = [outcome.best(budget) for outcome in groups[method]]
    probability = float(mannwhitneyu(ours, theirs).pvalue)
    if probability >= SIGNIFICANT:
        return f"tied, p = {probability:.2f}"
    better = statistics.median(ours) < statistics.median(theirs)
    return f"{OURS} is {'better' if better else 'WORSE'}, p = {probability:.1g}"


def latency(measured: Iterable[tuple[str, int, list[float]]]) -> str:
    """Print how long suggestions take: the median and the longest. Return the same as Markdown."""
    heads = ["method", "observed", "median", "longest", "suggestions"]
    table = Table(*heads, title="a suggestion with 64 pending")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for method, num_observed, took_s in measured:
        median, longest = (f"{value * 1000:,.0f} ms" for value in (statistics.median(took_s), max(took_s)))
        row = [method, f"{num_observed:,}", median, longest, str(len(took_s))]
        table.add_row(*row)
        lines.append(f"| {' | '.join(row)} |")
    Console(width=100).print(table)
    return "\n".join(lines)


def _by_method(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.cell.method, []).append(outcome)
    return groups


def _median(outcomes: Sequence[Outcome], budget: int) -> float:
    return statistics.median(outcome.best(budget) for outcome in outcomes)


def _quartiles(values: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"

"""One plain sentence per event, for `tm tap`, `tm why` and the page."""

from shared.narrate import access, cluster, experiments, runs, trials
from shared.narrate.sentence import sentence

__all__ = ["access", "cluster", "experiments", "runs", "sentence", "trials"]

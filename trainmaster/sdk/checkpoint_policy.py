"""Which validations are followed by a checkpoint that nobody asked for: the experiment file's checkpoint_policy.

All ranks take part in a checkpoint, but only rank 0's validation counts. So on every validation the other ranks say in
the rendezvous store that they have validated too, and wait for rank 0's verdict. Where the script validates on rank 0
alone the others never say so: then rank 0 gives up, and says how to mend it, rather than wait for them for ever. From
then on its verdict is "off", also for one that comes late; who hears that asks no more. The others train on meanwhile,
and wait for rank 0 in a collective operation: for those on its agent rank 0 says that it is alive. On another agent
nobody could, so where there is one rank 0 waits for half a stall_timeout at most.
"""

import math
from collections.abc import Mapping
from datetime import timedelta

from trainmaster.sdk.agreement import Store
from trainmaster.sdk.assignment import Assignment
from trainmaster.sdk.gathering import Gathering
from trainmaster.sdk.metrics import Captured
from trainmaster.sdk.terminal import warn

OTHERS_TIMEOUT_S = 60.0

_SAVE, _SKIP, _OFF = "save", "skip", "off"

Best = tuple[str, float]


class CheckpointPolicy:
    """One rank's part in following the policy."""

    def __init__(self, assignment: Assignment, gathering: Gathering, *, timeout_s: float = OTHERS_TIMEOUT_S) -> None:
        self._policy = assignment.checkpoint_policy
        self._metric = assignment.metric
        self._smaller_is_better = assignment.smaller_is_better
        self._rank = assignment.rank
        self._world_size = assignment.world_size
        self._gathering = gathering
        self._is_off = False  # on rank 0: it has given up
        are_elsewhere = assignment.local_world_size < assignment.world_size
        limit_s = assignment.stall_timeout_s / 2 if are_elsewhere else math.inf
        self._timeout = timedelta(seconds=min(timeout_s, limit_s))
        self._validated: tuple[int, bool] | None = None  # the newest step, and whether a checkpoint should follow
        self.best: Best | None = None

    def note(self, step: int, metrics: Mapping[str, Captured]) -> None:
        """The script has validated. Waits for the accelerator if it holds the search's metric."""
        if self._policy == "none":
            return
        has_improved = self._rank == 0 and self._improve(metrics)
        self._validated = (step, self._policy == "all" or has_improved)

    def restore(self, best: Best | None) -> None:
        """Go on from what was best when the checkpoint was written."""
        if best is not None and best[0] == self._metric:
            self.best = best

    def is_due(self, step: int) -> bool:
        """Say whether all ranks are to save a checkpoint now, between `step` and the next."""
        if self._validated is None or self._validated[0] != step:
            return False
        (_, is_wanted), self._validated = self._validated, None
        return is_wanted if self._world_size == 1 else self._agree(step, is_wanted=is_wanted)

    def _improve(self, metrics: Mapping[str, Captured]) -> bool:
        captured = metrics.get(self._metric)
        value = float(captured()) if callable(captured) else captured
        if value is None or not math.isfinite(value):
            return False
        sign = 1 if self._smaller_is_better else -1
        if self.best is not None and sign * value >= sign * self.best[1]:
            return False
        self.best = (self._metric, value)
        return True

    def _agree(self, step: int, *, is_wanted: bool) -> bool:
        """Return rank 0's verdict, the same on every rank that validated."""
        store = self._gathering.store()
        if self._rank == 0:
            verdict = self._judge(store, step, is_wanted=is_wanted)
            store.set(_key(step, "verdict"), verdict)
        else:
            store.set(_key(step, str(self._rank)), "validated")
            verdict = self._gathering.wait_for(_key(step, "verdict")).decode()
            if verdict == _OFF:
                self._policy = "none"
        return verdict == _SAVE

    def _judge(self, store: Store, step: int, *, is_wanted: bool) -> str:
        if is_wanted and not self._is_off and not self._have_others_validated(store, step):
            self._is_off = True
        if self._is_off:
            return _OFF
        return _SAVE if is_wanted else _SKIP

    def _have_others_validated(self, store: Store, step: int) -> bool:
        try:
            with self._gathering.beating():
                store.wait([_key(step, str(rank)) for rank in range(1, self._world_size)], self._timeout)
        except RuntimeError:  # torch's DistStoreError
            warn(
                f"checkpoint_policy: no checkpoint after the validation of step {step}, nor after later ones, because "
                f"not every rank called trial.report_validation within {self._timeout.total_seconds():g} s of rank 0. "
                "Call it on every rank, or write checkpoint_policy: none"
            )
            return False
        return True


def _key(step: int, name: str) -> str:
    return f"trainmaster/policy/{step}/{name}"

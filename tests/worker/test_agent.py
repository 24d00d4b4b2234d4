"""An agent's whole way with a trial, against a real broker and a real object store, with real processes."""

from shared.events import (
    TrialExited,
    Outcome,
    TrialStarted,
)
from tests.worker.cluster import Cluster


async def test_a_trial_runs_to_its_end(tm: Cluster) -> None:
    await tm.submit({"main.py": "import os, sys\nprint('hello', os.environ['RANK'], sys.argv)\n"})
    async with tm.agent():
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
        assert (exited.outcome, exited.exit_code) == (Outcome.COMPLETED, 0)
        started = await tm.wait_for(TrialStarted)
        assert started.warm
    assert (0, "stdout", "hello 0 ['main.py']") in tm.lines

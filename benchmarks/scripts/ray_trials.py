"""Run by the peers' interpreter: no-op trials under Ray Tune, two at a time; prints what it took as JSON."""

import json
import os
import sys
import time

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0", "RAY_DEDUP_LOGS": "0"}

import ray
from ray import tune

SLOTS = 2


def train(config: dict[str, float]) -> None:
    """Do nothing, and say when."""
    began_at = time.time()
    tune.report({"loss": config["x"], "began_at": began_at, "ended_at": time.time()})


def run(num_trials: int, *, reuses_actors: bool) -> dict[str, float]:
    """Return trials a second, and seconds from the submission to the first line of the first trial."""
    submitted_at = time.time()
    tuner = tune.Tuner(
        train,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            num_samples=num_trials, max_concurrent_trials=SLOTS, reuse_actors=reuses_actors, metric="loss", mode="min"
        ),
        run_config=tune.RunConfig(verbose=0, storage_path=sys.argv[2]),
    )
    found = [result.metrics for result in tuner.fit()]
    first, last = min(one["began_at"] for one in found), max(one["ended_at"] for one in found)
    return {"trials_per_s": len(found) / (last - first), "first_line_s": first - submitted_at}


if __name__ == "__main__":
    ray.init(num_cpus=SLOTS, include_dashboard=False, logging_level="ERROR")
    answers = [run(int(sys.argv[1]), reuses_actors=reuses) for reuses in (False, True)]
    sys.stdout.write(json.dumps({"anew": answers[0], "reused": answers[1]}) + "\n")
    ray.shutdown()

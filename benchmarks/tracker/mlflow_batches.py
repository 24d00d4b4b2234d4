"""Logs batches of 1,000 metrics with MLflow's own client; prints when it began and ended, and how many it logged."""

import json
import logging
import sys
import time

import mlflow
from mlflow.entities import Metric

BATCH = 1_000
NAMES = 10


def batch(number: int) -> list[Metric]:
    """Ten metrics at a hundred steps."""
    steps = range(number * BATCH // NAMES, (number + 1) * BATCH // NAMES)
    return [
        Metric(f"metric_{n}", 1 / (step + 1), 1_767_225_600_000 + step, step) for step in steps for n in range(NAMES)
    ]


def main(uri: str, num_batches: int) -> None:
    """Log the batches into one run."""
    logging.disable(logging.WARNING)
    client = mlflow.MlflowClient(tracking_uri=uri)
    run_id = client.create_run(client.create_experiment(f"bench-{time.time_ns()}")).info.run_id
    client.log_batch(run_id, metrics=batch(0))
    batches = [batch(number) for number in range(1, num_batches + 1)]
    began = time.time()
    for metrics in batches:
        client.log_batch(run_id, metrics=metrics)
    print(json.dumps({"began": began, "ended": time.time(), "done": num_batches * BATCH}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

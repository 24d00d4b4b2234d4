"""Runs random trials of one study with Optuna's own `optimize`; prints when it began and ended, and how many it ran."""

import json
import sys
import time

import optuna


def main(url: str, study_name: str, num_trials: int) -> None:
    """Run the trials: each suggests a value and reports one."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=url, study_name=study_name, sampler=optuna.samplers.RandomSampler(), load_if_exists=True
    )
    began = time.time()
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=num_trials)
    print(json.dumps({"began": began, "ended": time.time(), "done": num_trials}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""Somebody who would like to write with MLflow's client; prints what was refused, and what may be seen, as JSON."""

import json
import sys

import mlflow
from mlflow.exceptions import MlflowException

refused = None
try:
    mlflow.set_experiment("mine")
    with mlflow.start_run():
        mlflow.log_metric("loss", 1.0)
except MlflowException as error:
    refused = error.error_code
seen = sorted(found.name for found in mlflow.MlflowClient().search_experiments())
json.dump({"refused": refused, "seen": seen}, sys.stdout)

"""What MLflow logs by itself of a scikit-learn model; prints what it read back as JSON."""

import json
import sys
import warnings

import mlflow
import numpy as np
from sklearn.linear_model import LogisticRegression

warnings.simplefilter("ignore")
mlflow.set_experiment("autologged")
mlflow.sklearn.autolog()
generator = np.random.default_rng(7)
x = generator.normal(size=(60, 3))
y = (x.sum(axis=1) > 0).astype(int)
model = LogisticRegression(C=0.5).fit(x, y)
client = mlflow.MlflowClient()
run = mlflow.last_active_run()
(logged,) = mlflow.search_logged_models(output_format="list")
loaded = mlflow.sklearn.load_model(logged.model_uri)
read = {
    "C": run.data.params["C"],
    "status": run.info.status,
    "score": run.data.metrics["training_score"],
    "estimator": run.data.tags["estimator_name"],
    "artifacts": sorted(found.path for found in client.list_artifacts(run.info.run_id)),
    "datasets": [found.dataset.source_type for found in run.inputs.dataset_inputs],
    "model": str(logged.status),
    "model_metrics": sorted(metric.key for metric in logged.metrics),
    "predicts_the_same": bool((loaded.predict(x) == model.predict(x)).all()),
}
json.dump(read, sys.stdout)

"""MLflow's tracking REST API (docs/mlflow.md): its clients log runs here, and see trials as runs."""

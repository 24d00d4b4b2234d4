"""MLflow's tracking API."""

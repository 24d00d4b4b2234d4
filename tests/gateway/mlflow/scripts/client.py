"""What a team does with MLflow, by the unmodified client; prints what it read back as JSON."""

import json
import math
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

LARGE_BYTES = 20 * 1024 * 1024
client = MlflowClient()
read: dict[str, object] = {}


def refused(call: object, *args: object, **named: object) -> str:
    """Return the error code of a call that must fail."""
    try:
        call(*args, **named)  # type: ignore[operator] # whatever it is
    except MlflowException as error:
        return str(error.error_code)
    return "nothing was refused"


def experiments() -> None:
    made = client.create_experiment("digits", tags={"team": "vision"})
    read["twice"] = refused(client.create_experiment, "digits")
    client.set_experiment_tag(made, "stage", "draft")
    other = client.create_experiment("letters")
    client.rename_experiment(other, "signs")
    client.delete_experiment(other)
    read["active"] = sorted(found.name for found in client.search_experiments())
    read["deleted"] = [found.name for found in client.search_experiments(ViewType.DELETED_ONLY)]
    client.restore_experiment(other)
    read["by_tag"] = [found.name for found in client.search_experiments(filter_string="tags.team = 'vision'")]
    found = client.get_experiment_by_name("digits")
    read["experiment"] = {"tags": found.tags, "stage": found.lifecycle_stage, "same": found.experiment_id == made}
    read["missing"] = client.get_experiment_by_name("nowhere")


def a_run() -> str:
    mlflow.set_experiment("digits")
    with mlflow.start_run(run_name="first", tags={"k": "v"}) as run:
        mlflow.log_params({"lr": 0.1, "model-type": "mlp"})
        for step in range(1, 6):
            mlflow.log_metrics({"loss": 1 / step, "accuracy": step / 10}, step=step)
        for value in (3.0, 2.0):
            mlflow.log_metric("unstepped", value)
        mlflow.log_metric("broken", math.nan, step=3)
        mlflow.set_tag("note", "gone soon")
        client.delete_tag(run.info.run_id, "note")
        read["other_value"] = refused(mlflow.log_param, "lr", 0.2)
        mlflow.log_param("lr", 0.1)
        mlflow.log_dict({"a": 1}, "notes/config.json")
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "large.bin"
            path.write_bytes(bytes(range(256)) * (LARGE_BYTES // 256))
            mlflow.log_artifact(str(path))
    return str(run.info.run_id)


def what_it_left(run_id: str) -> None:
    run = client.get_run(run_id)
    read["status"] = [run.info.status, run.info.lifecycle_stage, run.info.run_name, run.info.user_id]
    read["ended"] = run.info.end_time >= run.info.start_time
    read["params"], read["tag"] = run.data.params, [run.data.tags.get("k"), run.data.tags.get("note")]
    read["metrics"] = {name: str(value) for name, value in run.data.metrics.items()}
    read["history"] = [(point.step, point.value) for point in client.get_metric_history(run_id, "loss")]
    read["unstepped"] = sorted(point.value for point in client.get_metric_history(run_id, "unstepped"))
    read["artifacts"] = sorted((found.path, found.is_dir) for found in client.list_artifacts(run_id))
    read["nested"] = [(found.path, found.file_size) for found in client.list_artifacts(run_id, "notes")]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(client.download_artifacts(run_id, "large.bin", directory))
        read["same_bytes"] = path.read_bytes() == bytes(range(256)) * (LARGE_BYTES // 256)
        read["config"] = json.loads(Path(client.download_artifacts(run_id, "notes/config.json", directory)).read_text())


def many_runs() -> None:
    experiment_id = client.get_experiment_by_name("digits").experiment_id

    def one(number: int) -> str:
        run = client.create_run(experiment_id, run_name=f"run-{number}", tags={"kind": "swept"})
        run_id = str(run.info.run_id)
        points = [Metric("score", number / 10, 1_700_000_000_000 + step, step) for step in range(1, 801)]
        client.log_batch(run_id, points, [Param("n", str(number))], [RunTag("parity", "odd" if number % 2 else "even")])
        client.set_terminated(run_id, "FAILED" if number == 7 else "FINISHED")
        return run_id

    with ThreadPoolExecutor(4) as threads:
        run_ids = list(threads.map(one, range(10)))
    with ThreadPoolExecutor(8) as threads:  # at the same run at the same time
        list(threads.map(lambda number: client.set_tag(run_ids[0], f"tag-{number}", "x"), range(16)))
    read["tags_together"] = sum(name.startswith("tag-") for name in client.get_run(run_ids[0]).data.tags)

    def names(text: str, **more: object) -> list[str]:
        found = client.search_runs([experiment_id], text, order_by=["metrics.score DESC"], **more)
        return [str(run.info.run_name) for run in found]

    read["searched"] = {
        text: names(text)
        for text in (
            "metrics.score > 0.55 and params.n != '9'",
            "params.n IN ('1', '3')",
            "tags.parity = 'odd' AND attributes.status = 'FAILED'",
            "run_name LIKE 'run-_' and metrics.score <= 0.1",
            "tags.kind ILIKE 'SWEPT' and params.n = '4'",
            "params.lr = '0.1'",
        )
    }
    pages = [client.search_runs([experiment_id], "tags.kind = 'swept'", max_results=4)]
    while token := pages[-1].token:
        pages.append(client.search_runs([experiment_id], "tags.kind = 'swept'", max_results=4, page_token=token))
    read["pages"] = [len(page) for page in pages]
    read["nonsense"] = refused(client.search_runs, [experiment_id], "metrics.score >")
    read["long_history"] = len(client.get_metric_history(run_ids[3], "score"))
    client.delete_run(run_ids[1])
    put_aside = names("params.n = '1'", run_view_type=ViewType.DELETED_ONLY)
    read["put_aside"] = [len(names("params.n = '1'")), len(put_aside)]
    client.restore_run(run_ids[1])
    read["taken_back"] = len(names("params.n = '1'"))


def inputs_and_models() -> None:
    with mlflow.start_run() as run:
        data = Dataset(name="mnist", digest="d1", source_type="http", source="{}")
        client.log_inputs(run.info.run_id, [DatasetInput(data)])
        model = mlflow.initialize_logged_model("net", params={"layers": "2"}, tags={"k": "v"})
        mlflow.log_metric("accuracy", 0.75, step=4, model_id=model.model_id)
        mlflow.finalize_logged_model(model.model_id, "READY")
        mlflow.set_logged_model_tags(model.model_id, {"stage": "best"})
    found = client.get_logged_model(model.model_id)
    is_of_run = found.source_run_id == run.info.run_id
    read["model"] = [found.name, str(found.status), found.params, found.tags["stage"], is_of_run]
    read["model_metrics"] = [(metric.key, metric.value) for metric in found.metrics]
    searched = mlflow.search_logged_models(filter_string="metrics.accuracy > 0.7", output_format="list")
    read["models"] = [one.model_id == model.model_id for one in searched]
    read["datasets"] = [one.dataset.name for one in client.get_run(run.info.run_id).inputs.dataset_inputs]
    read["unsupported"] = refused(client.create_registered_model, "net")


experiments()
what_it_left(a_run())
many_runs()
inputs_and_models()
with mlflow.start_run(experiment_id="0") as default:
    mlflow.log_metric("x", 1)
read["default"] = client.get_run(default.info.run_id).data.metrics
json.dump(read, sys.stdout)

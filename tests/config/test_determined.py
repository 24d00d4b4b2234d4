"""Experiment files of Determined: accepted unchanged where the feature exists, else told what to write."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config import notes_on, parse_experiment
from shared.config.determined import DEFAULTS, DEVICES, DROPPED, FORMER_METHODS, PLACES, REFUSED, translated
from shared.errors import Rejected

GUIDE = (Path(__file__).parents[2] / "docs" / "migrating-from-determined.md").read_text()

#: As in Determined's own examples and tutorials, with every section that it documents and this platform has.
ADAPTIVE = """
name: mnist_pytorch_adaptive_search
description: a search
labels: [mnist, pytorch]
workspace: Uncategorized
project: vision
data: {url: https://example.org/mnist.tar.gz}
debug: false
hyperparameters:
  learning_rate: {type: double, minval: 0.0001, maxval: 1.0}
  n_filters1: {type: int, minval: 8, maxval: 64}
  dropout1: {type: double, minval: 0.2, maxval: 0.8}
  optimizer: {type: categorical, vals: [sgd, adam]}
  weight_decay: {type: log, minval: -6, maxval: -2, base: 10}
  global_batch_size: 64
searcher:
  name: adaptive_asha
  metric: validation_loss
  smaller_is_better: true
  max_trials: 16
  time_metric: batches
  max_time: 937
  mode: standard
  max_rungs: 5
  divisor: 4
  max_concurrent_trials: 16
resources:
  {slots_per_trial: 2, priority: 42, max_slots: 8, weight: 1, resource_pool: "", shm_size: 4gb, is_single_node: null}
max_restarts: 5
records_per_epoch: 50000
scheduling_unit: 100
min_validation_period: {batches: 0}
perform_initial_validation: false
preemption_timeout: 600
checkpoint_policy: best
checkpoint_storage:
  type: s3
  bucket: ours
  access_key: AKIA
  secret_key: very secret
  save_experiment_best: 1
  save_trial_best: 2
  save_trial_latest: 1
environment: {environment_variables: [NCCL_DEBUG=INFO], force_pull_image: false, ports: {}}
reproducibility: {experiment_seed: 1234}
profiling: {enabled: true}
bind_mounts: []
integrations: null
entrypoint: python3 -m determined.launch.torch_distributed -- python3 train.py --epochs 3
"""
CONST = "searcher: {name: single, metric: loss}\nentrypoint: python3 train.py\n"


def test_a_file_of_determined_is_accepted_unchanged() -> None:
    parsed = parse_experiment(ADAPTIVE)
    assert (parsed.entrypoint, parsed.started_by) == (("python3", "train.py", "--epochs", "3"), "torch")
    assert parsed.searcher.name == "adaptive_asha"
    assert parsed.resources.resource_pool == "default"
    assert parsed.checkpoint_storage.save_trial_best == 2
    assert "very secret" not in parsed.model_dump_json()


def test_what_has_no_effect_is_told() -> None:
    notes = "\n".join(notes_on(ADAPTIVE))
    assert all(word in notes for word in ("shm_size", "scheduling_unit", "profiling", "type, bucket, access_key"))
    assert "very secret" not in notes
    assert notes_on(CONST) == []


@pytest.mark.parametrize("path", [path for path in REFUSED if path != "searcher.source_trial_id"])
def test_what_does_not_exist_here_names_the_field_and_the_mend(path: str) -> None:
    document = yaml.safe_load(CONST)
    section, _, key = path.rpartition(".")
    (document.setdefault(section, {}) if section else document)[key] = {"some": "value"}
    with pytest.raises(Rejected) as refused:
        parse_experiment(yaml.safe_dump(document))
    assert [(problem.path, problem.suggestion) for problem in refused.value.problems] == [(path, REFUSED[path])]


def problems_with(path: str, value: object) -> list[str]:
    """The paths that are refused in a file that says only this."""
    document = yaml.safe_load(CONST)
    section, _, key = path.rpartition(".")
    (document.setdefault(section, {}) if section else document)[key] = value
    try:
        parse_experiment(yaml.safe_dump(document))
    except Rejected as refused:
        return [problem.path for problem in refused.problems]
    return []


EMPTY = st.recursive(
    st.sampled_from((None, False, 0, "")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("path", REFUSED)
@settings(max_examples=15)
@given(empty=EMPTY)
def test_what_is_empty_all_through_asks_for_nothing(path: str, empty: object) -> None:
    assert problems_with(path, empty) == []


@pytest.mark.parametrize("path", [path for path in REFUSED if path != "searcher.source_trial_id"])
@settings(max_examples=10)
@given(
    filled=st.recursive(st.sampled_from((True, 7, "x")), lambda inner: st.builds(lambda it: {"a": [None, it]}, inner))
)
def test_what_holds_anything_is_refused(path: str, filled: object) -> None:
    assert problems_with(path, filled) == [path]


#: As Determined fills them in, versions mixed: where only an image is missing.
DEFAULT_SECTIONS = """
bind_mounts: []
data_layer: {type: shared_fs, container_storage_path: null, host_storage_path: null}
debug: false
description: null
environment:
  environment_variables: {cpu: [], cuda: [], rocm: []}
  force_pull_image: false
  pod_spec: null
  ports: {}
  proxy_ports: []
  registry_auth: null
  slurm: []
  pbs: []
  add_capabilities: []
  drop_capabilities: []
integrations: null
labels: []
log_policies:
  - {name: CUDA OOM, pattern: .*CUDA out of memory.*}
  - {name: ECC Error, pattern: .*uncorrectable ECC error encountered.*, action: null}
max_restarts: 5
min_checkpoint_period: {batches: 0}
min_validation_period: {records: 0}
optimizations:
  aggregation_frequency: 1
  auto_tune_tensor_fusion: false
  average_aggregated_gradients: true
  average_training_metrics: true
  gradient_compression: false
  grad_updates_size_file: null
  mixed_precision: O0
  tensor_fusion_cycle_time: 1
  tensor_fusion_threshold: 64
pbs: {pbsbatch_args: [], slots_per_node: null}
perform_initial_validation: false
preemption_timeout: null
profiling: {enabled: false, begin_on_batch: 0, end_after_batch: null, sync_timings: true}
project: ""
records_per_epoch: 0
resources:
  {agent_label: "", devices: [], is_single_node: null, max_slots: null, native_parallel: false, priority: null,
   resource_pool: "", shm_size: null, slots: null, slots_per_trial: 1, weight: 1}
retention_policy: {log_retention_days: -1}
scheduling_unit: 100
slurm: {sbatch_args: [], slots_per_node: null, gpu_type: null}
workspace: ""
"""


def test_determineds_defaults_spelled_out_ask_for_nothing() -> None:
    assert parse_experiment(CONST + DEFAULT_SECTIONS) == parse_experiment(CONST)
    image = {"cpu": "determinedai/pytorch:cpu", "cuda": "determinedai/pytorch:cuda"}
    assert problems_with("environment.image", image) == ["environment.image"], "no version's image is ours"


def document_with(path: str, value: object) -> tuple[str, object]:
    """A refused field, and its value that holds only what a path says."""
    section, *keys = path.split(".")
    for key in reversed(keys):
        value = {key: value}
    return section.removesuffix("[]"), [value] if section.endswith("[]") else value


@pytest.mark.parametrize("path", DEFAULTS)
def test_of_a_section_only_what_is_not_at_its_default_asks_for_anything(path: str) -> None:
    for default in DEFAULTS[path]:
        assert problems_with(*document_with(path, default)) == []
    for other in ("x", 3, *({True, False} - set(DEFAULTS[path]) if isinstance(DEFAULTS[path][0], bool) else ())):
        field, value = document_with(path, other)
        assert problems_with(field, value) == [field], other


def test_no_field_of_a_section_hides_behind_another() -> None:
    given_ = {"aggregation_frequency": 1, "mixed_precision": "O1"}
    assert problems_with("optimizations", given_) == ["optimizations"]
    assert problems_with("optimizations", {"aggregation_frequency": True}) == ["optimizations"], "true is not 1"
    label = {"name": "CUDA OOM", "pattern": ".*CUDA out of memory.*", "action": "cancel_retries"}
    assert problems_with("log_policies", [label]) == ["log_policies"]


def test_variables_that_are_the_same_on_every_device_are_one_list() -> None:
    def variables(of: dict[str, object]) -> tuple[str, ...]:
        document = yaml.safe_load(CONST) | {"environment": {"environment_variables": of}}
        return parse_experiment(yaml.safe_dump(document)).environment.environment_variables

    assert variables({device: ["A=1", "B=2"] for device in DEVICES}) == ("A=1", "B=2")
    assert variables({}) == variables({"cpu": [], "rocm": None}) == ()
    assert problems_with("environment.environment_variables", {"cuda": ["A=1"]}) == [
        "environment.environment_variables"
    ]


@pytest.mark.parametrize(
    ("entrypoint", "said"),
    [
        ("model_def:MNistTrial", "trial class"),
        ("python3 -m determined.launch.horovod python3 train.py", "launch layer horovod"),
        ("python3 -m determined.launch.deepspeed --trial model_def:GAN", "trial class"),
        ("python3 -m determined.launch.torch_distributed --nproc_per_node 2 -- python3 train.py", "options"),
    ],
)
def test_an_entrypoint_that_cannot_work_is_told(entrypoint: str, said: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_experiment(f"searcher: {{name: single, metric: loss}}\nentrypoint: {entrypoint}\n")
    assert any(said in problem.message and problem.suggestion for problem in refused.value.problems)


def test_a_launch_layer_becomes_a_launcher() -> None:
    text = CONST.replace("python3 train.py", "[python3, -m, determined.launch.deepspeed, python3, train.py]")
    parsed = parse_experiment(text)
    assert (parsed.entrypoint, parsed.launcher) == (("python3", "train.py"), "deepspeed")


def test_a_checkpoint_to_start_from_is_ours() -> None:
    text = CONST.replace("metric: loss", "metric: loss, source_checkpoint_uuid: 3x2abc-1-10")
    assert parse_experiment(text).resume_from == "3x2abc-1-10"


@pytest.mark.parametrize("name", FORMER_METHODS)
def test_a_former_method_names_the_nearest(name: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse_experiment(CONST.replace("single", name))
    assert any(FORMER_METHODS[name] in (problem.suggestion or "") for problem in refused.value.problems)


@pytest.mark.parametrize("word", [*REFUSED, *DROPPED, *FORMER_METHODS, *PLACES])
def test_the_guide_lists_every_difference(word: str) -> None:
    assert f"`{word.rpartition('.')[2]}`" in GUIDE or f"`{word}`" in GUIDE


KEYS = st.sampled_from(
    [*REFUSED, *DROPPED, "searcher", "resources", "checkpoint_storage", "entrypoint", "name", "type"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_stands_there_is_read_and_not_changed(document: dict[str, Any]) -> None:
    kept = deepcopy(document)
    translated(document)
    assert document == kept

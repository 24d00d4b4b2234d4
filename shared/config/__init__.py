"""The experiment file: parsed, checked with every mistake at once, typed."""

from shared.config.experiment import Experiment
from shared.config.parse import json_schema, load_experiment, notes_on, parse_experiment

__all__ = ["Experiment", "json_schema", "load_experiment", "notes_on", "parse_experiment"]

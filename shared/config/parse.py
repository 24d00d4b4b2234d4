"""The doors of this package: text or a stored configuration in, an Experiment or every mistake out."""

from collections.abc import Iterator
from copy import copy
from typing import Any

from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo

from shared.config import deepspeed, experiment, hyperparameters, searcher
from shared.config.determined import translated
from shared.config.document import read_document
from shared.config.experiment import Experiment
from shared.config.given import misfits
from shared.config.problems import MAX_PROBLEMS, Catalogue, problems_of
from shared.config.rules import broken_rules
from shared.errors import Problem, Rejected


def _optional(field: FieldInfo) -> FieldInfo:
    made = copy(field)
    made.default = None
    return made


_SECTIONS: dict[str, type[BaseModel]] = {
    "resources": experiment.Resources,
    "environment": experiment.Environment,
    "checkpoint_storage": experiment.CheckpointStorage,
    "reproducibility": experiment.Reproducibility,
}
_UNION_BRANCHES: dict[str, type[BaseModel]] = {
    "<single>": searcher.SingleSearch,
    "<random>": searcher.RandomSearch,
    "<grid>": searcher.GridSearch,
    "<bayesian>": searcher.BayesianSearch,
    "<async_halving>": searcher.AsyncHalvingSearch,
    "<adaptive_asha>": searcher.AdaptiveASHASearch,
    "<bayesian_asha>": searcher.BayesianASHASearch,
    "<hyperband>": searcher.HyperbandSearch,
    "<the short form>": deepspeed.DeepSpeedShort,
    "<const>": hyperparameters.Const,
    "<categorical>": hyperparameters.Categorical,
    "<int>": hyperparameters.Int,
    "<double>": hyperparameters.Double,
    "<log>": hyperparameters.Log,
    "<choice>": hyperparameters.Choice,
}
_METHODS = [model for model in _UNION_BRANCHES.values() if issubclass(model, searcher.SearchCommon)]
#: What a search may hold if nobody can say which method it is: every key of every method, none of them required.
_any_search: dict[str, Any] = {
    key: (field.annotation, _optional(field))
    for model in reversed(_METHODS)
    for key, field in model.model_fields.items()
    if key not in searcher.SearchCommon.model_fields
}
_any_search["name"] = (object, None)
_AnySearch = create_model("_AnySearch", __base__=searcher.SearchCommon, **_any_search)
_NAMED: dict[str, type[BaseModel]] = {**_SECTIONS, "searcher": searcher.BayesianSearch}
_HALVING = (searcher.AsyncHalvingSearch, searcher.AdaptiveASHASearch)
_CATALOGUE = Catalogue(
    models={
        "": Experiment,
        "searcher": _AnySearch,
        "max_length": searcher.MaxLength,
        "warm_start": searcher.WarmStart,
        **_SECTIONS,
        **_UNION_BRANCHES,
    },
    homes={key: f"{section}.{key}" for section, model in _NAMED.items() for key in model.model_fields}
    | {key: f"searcher.{key}" for model in _HALVING for key in model.model_fields}
    | {key: key for key in Experiment.model_fields},
)


def parse_experiment(text: str) -> Experiment:
    """Return the experiment in a YAML or JSON text. Raises Rejected with every mistake in it."""
    document, problems = read_document(text)
    if not isinstance(document, dict):
        raise Rejected("the experiment file must be a mapping of keys to values", tuple(problems))
    translation = translated(document)
    document = translation.document
    problems += translation.problems
    parsed: Experiment | None = None
    try:
        parsed = Experiment.model_validate(document)
    except ValidationError as error:
        problems += problems_of(error, _CATALOGUE)
        problems += _search_of_unknown_method(error, document)
    problems += broken_rules(document)
    if parsed is not None:
        problems += _misfits(parsed)
        problems += [] if problems else _points_without_trials(parsed)
    if problems or parsed is None:
        raise Rejected(_title(len(problems)), _first(problems))
    return parsed


def notes_on(text: str) -> list[str]:
    """Return what a text says that has no effect here, for people who come from Determined. Raises Rejected."""
    document, _ = read_document(text)
    return translated(document).notes if isinstance(document, dict) else []


def _misfits(parsed: Experiment) -> Iterator[Problem]:
    for number, point in enumerate(parsed.searcher.points_to_evaluate):
        yield from misfits(parsed.hyperparameters, point, ("searcher", "points_to_evaluate", number))


def _points_without_trials(parsed: Experiment) -> Iterator[Problem]:
    """Look only at a file without other mistakes: of these it may be unknown how many trials they ask for."""
    num_points, num_trials = len(parsed.searcher.points_to_evaluate), parsed.num_trials
    if num_points > num_trials:
        message = f"has {num_points} configurations for {num_trials} trial{'s' * (num_trials != 1)}"
        yield Problem("searcher.points_to_evaluate", message)


def load_experiment(config: dict[str, Any]) -> Experiment:
    """Return the experiment that an event stores. Raises Rejected when this program cannot read it."""
    try:
        return Experiment.model_validate(config)
    except ValidationError as error:
        raise Rejected("the stored experiment cannot be read", tuple(problems_of(error, _CATALOGUE))) from error


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of an experiment file, for editors."""
    schema = Experiment.model_json_schema()
    definitions = schema["$defs"]
    plain = {"type": ["string", "number", "boolean", "array", "null"]}
    definitions["Const"] = {"anyOf": [definitions["Const"], plain], "title": "Const"}
    definitions["MaxLength"] = {"anyOf": [definitions["MaxLength"], {"type": "integer", "minimum": 1}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _search_of_unknown_method(error: ValidationError, document: dict[str, Any]) -> list[Problem]:
    """Return what is wrong with a search besides its name, which no method has."""
    search = document.get("searcher")
    is_unknown = any(line["type"] == "union_tag_invalid" and line["loc"] == ("searcher",) for line in error.errors())
    if not is_unknown or not isinstance(search, dict):
        return []
    try:
        _AnySearch.model_validate(search)
    except ValidationError as more:
        return problems_of(more, _CATALOGUE, within=("searcher",))
    return []


def _first(problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(dict.fromkeys(problems[:MAX_PROBLEMS]))


def _title(num_problems: int) -> str:
    if num_problems == 1:
        return "the experiment file has a mistake"
    return f"the experiment file has {num_problems} mistakes{' or more' if num_problems >= MAX_PROBLEMS else ''}"

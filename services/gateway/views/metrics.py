"""Metrics of trials: names, series, times and what comes in."""

from datetime import datetime

from services.gateway.views.view import View


class Series(View, frozen=True, kw_only=True):
    """One metric of one trial: [step, value] pairs by step."""

    trial_id: str
    name: str
    group: str
    points: list[tuple[int, float]]


class SeriesList(View, frozen=True, kw_only=True):
    """Metrics for a chart."""

    series: list[Series]


class MetricName(View, frozen=True, kw_only=True):
    """A metric that there is."""

    group: str
    name: str


class MetricNames(View, frozen=True, kw_only=True):
    """The metrics that there are, by group and name."""

    items: list[MetricName]


class StepTimes(View, frozen=True, kw_only=True):
    """When a trial validated: [step, seconds since its first start] pairs by step."""

    trial_id: str
    points: list[tuple[int, float]]


class StepTimesList(View, frozen=True, kw_only=True):
    """Trials with their times."""

    items: list[StepTimes]


class MetricItem(View, frozen=True, kw_only=True):
    """Training metrics of one step of a trial, as an attempt (`epoch`) reported them."""

    group: str
    epoch: int
    step: int
    time: datetime
    values: dict[str, float]

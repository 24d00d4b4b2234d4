"""The API's operations, one file per resource."""

from services.gateway.api import Route
from services.gateway.routes import (
    agents,
    checkpoints,
    diff,
    events,
    experiments,
    exports,
    logs,
    metrics,
    raw,
    status,
    submit,
    trials,
    why,
)

ROUTES: tuple[Route, ...] = (
    *submit.ROUTES,
    *experiments.ROUTES,
    *trials.ROUTES,
    *metrics.ROUTES,
    *exports.ROUTES,
    *logs.ROUTES,
    *why.ROUTES,
    *checkpoints.ROUTES,
    *agents.ROUTES,
    *diff.ROUTES,
    *events.ROUTES,
    *raw.ROUTES,
    *status.ROUTES,
)

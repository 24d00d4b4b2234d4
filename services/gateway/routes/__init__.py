"""The API's operations, one file per resource."""

from services.gateway.api import Route
from services.gateway.routes import (
    agents,
    checkpoints,
    diff,
    events,
    experiments,
    exports,
    limits,
    logs,
    metrics,
    pools,
    raw,
    session,
    status,
    submit,
    tokens,
    trials,
    users,
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
    *pools.ROUTES,
    *limits.ROUTES,
    *events.ROUTES,
    *raw.ROUTES,
    *status.ROUTES,
    *session.ROUTES,
    *tokens.ROUTES,
    *users.ROUTES,
)

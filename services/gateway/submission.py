"""What is checked before an experiment is appended, whether it was sent whole or made of another; and how it is shown
while the read model is behind."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from services.gateway import administration, admission, cluster, decide, filing, places, queries
from services.gateway.access import permit
from services.gateway.access.access import principal
from services.gateway.api import PREFIX, Parts, json_response
from services.gateway.views.checkpoints import Checkpoint
from services.gateway.views.experiments import Experiment, ExperimentState, SearcherView, TrialCounts
from services.gateway.warm_start import with_observations
from shared.events import ExperimentSubmitted, Role


async def admitted(parts: Parts, config: dict[str, Any]) -> dict[str, Any]:
    """Return a config as it is recorded. Raises Rejected when who asks may not submit it, or it asks for what cannot
    be."""
    permit.require(Role.EDITOR, config["workspace"])
    filing.check_place(await places.archived(parts.database, config["workspace"], config["project"]))
    agents = await cluster.agents(parts.database)
    pools = administration.admission_pools(await administration.pools(parts.database, agents), agents)
    config = admission.admit(config, pools, await administration.admission_limits(parts.database))
    decide.check_precision(config, cluster.slot_kinds(agents, config["resources"]["resource_pool"]))
    if (origin := config["resume_from"]) is not None:
        decide.check_resume_from(origin, await _readable_checkpoint(parts, origin))
    return await with_observations(parts, config)


async def _readable_checkpoint(parts: Parts, checkpoint_id: str) -> Checkpoint | None:
    """Return a checkpoint; one that who asks may not look at does not exist."""
    found = await queries.find_checkpoint(parts.database, checkpoint_id)
    return found if found is not None and await permit.may(parts, Role.VIEWER, "checkpoints", checkpoint_id) else None


async def answer(parts: Parts, event: ExperimentSubmitted, seq: int) -> web.Response:
    """Return the answer to a submission that is on the log."""
    if await parts.position.shown(seq):
        shown: Experiment = await queries.experiment(parts.database, event.experiment_id)
    else:
        shown = _as_submitted(event, seq)
    location = f"{PREFIX}/experiments/{event.experiment_id}"
    return json_response(shown, seq=seq, status=HTTPStatus.CREATED, location=location)


def _as_submitted(event: ExperimentSubmitted, seq: int) -> Experiment:
    """The experiment as it is in its first moment, for when the read model is behind."""
    config: dict[str, Any] = event.config
    searcher, resources = config["searcher"], config["resources"]
    return Experiment(
        id=event.experiment_id,
        name=event.name,
        description=config["description"],
        labels=config["labels"],
        state=ExperimentState.ACTIVE,
        searcher=SearcherView(
            name=searcher["name"],
            metric=searcher["metric"],
            smaller_is_better=searcher["smaller_is_better"],
            max_trials=searcher.get("max_trials"),
            max_concurrent_trials=searcher.get("max_concurrent_trials"),
        ),
        slots_per_trial=resources["slots_per_trial"],
        workspace=config["workspace"],
        project=config["project"],
        owner=principal.get().user_id,
        archived=False,
        deletion=None,
        forked_from=event.forked_from,
        pool=resources["resource_pool"],
        priority=resources["priority"],
        weight=resources["weight"],
        max_slots=resources["max_slots"],
        progress=0.0,
        submitted_at=datetime.now(UTC),
        ended_at=None,
        reason=None,
        trials=TrialCounts(total=0, waiting=0, running=0, completed=0, failed=0, canceled=0),
        best=None,
        seq=seq,
    )

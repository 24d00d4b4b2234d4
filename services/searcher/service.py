"""The searcher's shell: runs the decision loop, and has suggestions computed beside it."""

import asyncio
from datetime import datetime
from pathlib import Path

from nats.aio.client import Client

from services.searcher import instruments
from services.searcher.decide import About, decide, is_wanted, question
from services.searcher.snapshot import snapshots
from services.searcher.state import State, evolve
from services.searcher.suggestions import Suggestions
from shared import subjects
from shared.decisions import Decision, DecisionLoop
from shared.exposition import Exposition
from shared.ids import ExperimentId


class Searcher:
    """One searcher instance; of several, one leads and the others stand by."""

    def __init__(self, client: Client, *, instance: str, state_directory: Path | None = None) -> None:
        self._client = client
        self._suggestions = Suggestions(self._answered)
        self.loop = DecisionLoop(
            client,
            subjects.SEARCHER,
            State(),
            evolve,
            self._decide,
            instance=instance,
            snapshots=snapshots(state_directory, f"searcher-{instance}"),
            more_facts=lambda: {"num_suggestions_troubled": self._suggestions.num_troubled},
        )

    async def run(self) -> None:
        """Serve for ever."""
        async with asyncio.TaskGroup() as tasks:
            positions = {subjects.EVENTS: lambda: self.loop.fold.position}
            shown = Exposition(self._client, subjects.SEARCHER, positions, self._observe)
            tasks.create_task(shown.run(), name="show metrics")
            tasks.create_task(self.loop.run(), name="decide")
            tasks.create_task(self._suggestions.run(), name="suggestions")

    def _observe(self) -> None:
        self.loop.observe()
        instruments.SEARCHES.set(len(self.loop.state.searches))
        instruments.OPEN_TRIALS.set(len(self.loop.state.experiment_of))
        instruments.QUESTIONS.set(self._suggestions.num_waiting)
        instruments.TROUBLED_QUESTIONS.set(self._suggestions.num_troubled)

    def _decide(self, now: datetime) -> list[Decision]:
        """Decide, ask what stands in the way of the searches that nothing was decided for, and call those settled."""
        state, suggestions = self.loop.state, self._suggestions
        suggestions.keep(self._is_wanted)
        decisions = decide(state, suggestions.answers)
        undecided = {decision.correlation for decision in decisions}
        for experiment_id in [due for due in state.due if due not in undecided]:
            search = state.searches.get(experiment_id)
            if search and (asked := question(search, suggestions.answers)):
                suggestions.ask(experiment_id, *asked)
            del state.due[experiment_id]
        return decisions

    def _is_wanted(self, experiment_id: ExperimentId, about: About) -> bool:
        search = self.loop.state.searches.get(experiment_id)
        return search is not None and is_wanted(search, about)

    def _answered(self, experiment_id: ExperimentId) -> None:
        if experiment_id in self.loop.state.searches:
            self.loop.state.due[experiment_id] = None
            self.loop.follower.poke()

"""Very many trials and experiments, put into the read model as the tracker would have folded them."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from tests.support.platform import RunningPlatform
from trainmaster.embedded.postgres import postgres_url

_TRIALS = """
INSERT INTO trials (id, experiment_id, index, state, hyperparameters, seed, slots, pool_id, origin, requested_at,
                    requested_seq, waiting_since, started_at, ended_at, metric, best_step, step, seq)
SELECT $1 || '-' || n, $1, n, 'COMPLETED', jsonb_build_object('lr', 10 ^ (-4 + 3 * random()), 'layers', 1 + n % 4), n,
       1, 'default', 'random', now(), 1, now(), now() - interval '1 hour', now(), random(), 20, 20, 1
FROM generate_series(4, $2::bigint) n
"""

_EXPERIMENTS = """
INSERT INTO experiments (id, name, description, labels, state, config, searcher, metric, smaller_is_better, max_trials,
                         max_steps, slots_per_trial, pool_id, code_sha256, code_bytes, submitted_at, submitted_seq,
                         ended_at, seq, workspace, priority, weight, project, owner)
SELECT 'x' || lpad(n::text, 7, '0'), 'search ' || n, '', ARRAY['crowd'], 'COMPLETED', config, searcher, metric,
       smaller_is_better, 1, max_steps, 1, pool_id, code_sha256, code_bytes, now() - n * interval '1 minute', -n, now(),
       1, '', 42, 1, '', 'user ' || n % 9
FROM experiments, generate_series(1, $2::bigint) n WHERE id = $1
"""


def url_of(platform: RunningPlatform) -> str:
    """Return the URL of a platform's database."""
    port = json.loads((platform.data / "ports.json").read_text())["postgres"]
    return postgres_url(port, json.loads((platform.data / "credentials.json").read_text())["postgres"])


def add_trials(url: str, experiment_id: str, total: int) -> None:
    """Give a search of three trials so many."""
    _run(url, _TRIALS, experiment_id, total)


def add_experiments(url: str, like_id: str, total: int) -> None:
    """Add so many experiments that are over, older than all others and like one of them."""
    _run(url, _EXPERIMENTS, like_id, total)


def _run(url: str, statement: str, *values: object) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement, *values)
            await connection.execute("ANALYZE trials, experiments")  # as the server does by itself within a minute
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:  # an event loop may be running in this one
        thread.submit(asyncio.run, execute()).result()

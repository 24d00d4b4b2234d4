"""`python -m trainmaster.compose prepare | rotate | init | agent`: the steps of deploy/compose.

Each imports what it needs itself: an agent's image has none of the others' packages, and the other way round.
"""

import asyncio
import sys
from pathlib import Path

SECRETS = Path("/run/trainmaster")
VOLUMES = Path("/volumes")


def main(words: list[str]) -> None:
    """Take one step."""
    match words:
        case ["prepare"]:
            from trainmaster.compose.plan import Plan
            from trainmaster.compose.prepare import prepare

            prepare(SECRETS, VOLUMES, Plan.from_environment())
        case ["rotate", *what]:
            from trainmaster.compose import rotate

            rotate.rotate(SECRETS, what)
        case ["init"]:
            from trainmaster.compose import init

            asyncio.run(init.init())
        case ["agent"]:
            from trainmaster.compose import agent

            agent.run(SECRETS / "agents")
        case _:
            raise SystemExit("usage: python -m trainmaster.compose prepare|rotate WHAT|init|agent")


if __name__ == "__main__":
    main(sys.argv[1:])

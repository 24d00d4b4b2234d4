"""`python -m trainmaster.compose prepare | init | agent`: the steps of deploy/compose."""

import asyncio
import sys
from pathlib import Path

from trainmaster.compose import agent, prepare

SECRETS = Path("/run/trainmaster")
VOLUMES = Path("/volumes")


def main(words: list[str]) -> None:
    """Take one step."""
    match words:
        case ["prepare"]:
            prepare.prepare(SECRETS, VOLUMES, prepare.num_agents_from_environment())
        case ["init"]:
            from trainmaster.compose import init  # its packages are not in an agent's image

            asyncio.run(init.init())
        case ["agent"]:
            agent.run(SECRETS / "agents")
        case _:
            raise SystemExit("usage: python -m trainmaster.compose prepare|init|agent")


if __name__ == "__main__":
    main(sys.argv[1:])

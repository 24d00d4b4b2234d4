"""`python -m services.tracker` runs the tracker; `python -m services.tracker rebuild` empties the read model."""

import sys

from services.tracker.rebuild import rebuild
from services.tracker.service import serve
from services.tracker.settings import Settings
from shared.runtime import run_service


def main(words: list[str]) -> None:
    """Run, or rebuild."""
    settings = Settings.from_environment()
    match words:
        case []:
            run_service(lambda: serve(settings))
        case ["rebuild"]:
            run_service(lambda: rebuild(settings))
        case _:
            raise SystemExit("usage: python -m services.tracker [rebuild]")


if __name__ == "__main__":
    main(sys.argv[1:])

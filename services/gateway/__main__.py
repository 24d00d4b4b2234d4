"""`python -m services.gateway` serves the API and the page until SIGTERM."""

import gc

from services.gateway.app import serve
from services.gateway.settings import Settings
from shared.runtime import run_service


def main() -> None:
    """Run."""
    settings = Settings.from_environment()
    gc.collect()
    gc.freeze()  # a collection then looks at what requests left, not at every module: it holds up all who wait
    run_service(lambda: serve(settings))


if __name__ == "__main__":
    main()

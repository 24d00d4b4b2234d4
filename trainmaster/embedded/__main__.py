"""The supervisor in the background: `python -m trainmaster.embedded`, started by `tm up --detach`."""

import argparse
import asyncio
import logging
import os

from trainmaster.embedded.directory import AlreadyRunning, DataDirectory
from trainmaster.embedded.foreground import serve
from trainmaster.embedded.supervisor import NotReady, Plan


def main() -> None:
    """Run until SIGTERM; write the URL to the given descriptor when everything answers."""
    parser = argparse.ArgumentParser(prog="python -m trainmaster.embedded")
    parser.add_argument("--data", required=True)
    parser.add_argument("--slots", action="append", required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    options = parser.parse_args()
    log = logging.getLogger(__name__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    def on_ready(url: str) -> None:
        with os.fdopen(options.ready_fd, "w") as ready:
            ready.write(url)

    plan = Plan(directory=DataDirectory.named(options.data), slots=tuple(options.slots))
    try:
        asyncio.run(serve(plan, on_ready, lambda: log.info("stopping")))
    except (AlreadyRunning, NotReady) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()

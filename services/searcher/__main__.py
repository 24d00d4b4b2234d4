"""Run the searcher: settings, connection, until SIGTERM."""

from services.searcher.service import Searcher
from shared import broker, runtime, settings, subjects


async def main() -> None:
    """Serve until cancelled."""
    async with broker.connect(settings.nats_url(), subjects.SEARCHER) as client:
        await Searcher(client, instance=settings.instance(), state_directory=settings.state_directory()).run()


if __name__ == "__main__":
    runtime.run_service(main)

"""Run an agent: settings, until SIGTERM."""

from services.worker.concealed import conceal
from services.worker.service import serve
from services.worker.settings import Settings
from shared.runtime import run_service


def main() -> None:
    """Run."""
    conceal()
    settings = Settings.from_environment()
    run_service(lambda: serve(settings))


if __name__ == "__main__":
    main()

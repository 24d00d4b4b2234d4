"""`python -m services.gateway` serves the API and the page until SIGTERM."""

from services.gateway.app import serve
from services.gateway.settings import Settings
from shared.runtime import run_service


def main() -> None:
    """Run."""
    settings = Settings.from_environment()
    run_service(lambda: serve(settings))


if __name__ == "__main__":
    main()

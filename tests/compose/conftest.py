"""One engine with all images for the tests that need one; without it they are skipped and say why."""

from collections.abc import Iterator

import pytest

from tests.compose.deployment import Deployment, note, timed
from tests.compose.engine import Engine, Images, NoEngine, engine, images


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Images]]:
    try:
        with engine() as found:
            made = images(found, tmp_path_factory.mktemp("images"))
            builder = Deployment(engine=found, images=made, scratch=tmp_path_factory.mktemp("build"))
            note("build", timed(lambda: builder.compose("build", "--quiet")))
            table = "{{.Repository}} {{.Size}}"
            print(found.docker("images", "--filter", "reference=trainmaster/*", "--format", table))  # noqa: T201
            yield found, made
    except NoEngine as error:
        pytest.skip(str(error))

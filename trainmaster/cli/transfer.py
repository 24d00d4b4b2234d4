"""Progress of uploads and downloads, on a terminal; nothing where nobody looks."""

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from trainmaster.cli.output import console

#: Called with how many bytes are through, and how many there are.
OnSent = Callable[[int, int], None]


@contextlib.contextmanager
def receiving(what: str, total_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """Show how far a download is; the context's value is told of each chunk's bytes."""
    with _progress() as progress:
        bar = progress.add_task(what, total=total_bytes)

        def received(num_bytes: int) -> None:
            progress.advance(bar, num_bytes)

        yield received


@contextlib.contextmanager
def sending(what: str) -> Iterator[OnSent]:
    """Show how far an upload is; the context's value is told how much is through."""
    with _progress() as progress:
        bar = progress.add_task(what, total=None)

        def sent(num_bytes: int, total_bytes: int) -> None:
            progress.update(bar, completed=num_bytes, total=total_bytes)

        yield sent


def _progress() -> Progress:
    screen = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)

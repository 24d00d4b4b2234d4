"""Code archives: packed by the client, checked by the gateway, unpacked by the agents. Nothing in one is trusted."""

import gzip
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from shared.errors import Problem, Rejected

MAX_ARCHIVE_BYTES = 64 * 1024 * 1024
MAX_UNPACKED_BYTES = 256 * 1024 * 1024
MAX_FILES = 10_000
MAX_READ_BYTES = 1024 * 1024
MAX_FOLDERS = 10 * MAX_FILES
MAX_NAME_BYTES = 255  # of a file or folder, as Linux has it
MAX_PATH_BYTES = 2048  # of the 4,096 that Linux has, of which the place where it is unpacked takes some

#: Never packed: version control, environments, caches, what a run by hand leaves behind.
IGNORED = frozenset(
    {
        ".git",
        ".hg",
        ".venv",
        "venv",
        "__pycache__",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        "node_modules",
        "trainmaster-checkpoints",
    }
)


def _never() -> bool:
    return False


def pack(directory: Path) -> bytes:
    """Return the regular files of a directory as a tar.gz that depends on their names, modes and contents only.

    Raises Rejected when there is nothing to pack, a link leads out, or a limit is passed.
    """
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        num_files = 0
        for path in _files(directory):
            num_files += 1
            entry = tarfile.TarInfo(path.relative_to(directory).as_posix())
            body = path.read_bytes()
            entry.size = len(body)
            entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            tar.addfile(entry, io.BytesIO(body))
            if num_files > MAX_FILES or buffer.tell() > MAX_ARCHIVE_BYTES:
                raise Rejected(_too_much(directory))
    if num_files == 0:
        raise Rejected(f"{directory} has no files to submit")
    if buffer.tell() > MAX_ARCHIVE_BYTES:
        raise Rejected(_too_much(directory))
    return buffer.getvalue()


def check(body: bytes) -> None:
    """Raise Rejected, naming every bad entry, unless the archive is safe to unpack."""
    _read(body, None, _never)


def unpack(body: bytes, directory: Path, is_given_up: Callable[[], bool] = _never) -> None:
    """Write the archive's files below `directory`, as long as that is not given up.

    Raises Rejected before anything is written if the archive is unsafe, OSError when the disk fails.
    """
    _read(body, None, is_given_up)
    _read(body, directory, is_given_up)


def _read(body: bytes, directory: Path | None, is_given_up: Callable[[], bool]) -> None:
    if len(body) > MAX_ARCHIVE_BYTES:
        raise Rejected(f"the code archive has {len(body)} bytes; at most {MAX_ARCHIVE_BYTES} are accepted", status=413)
    problems: list[Problem] = []
    unpacked_bytes, names = 0, _Names()
    try:
        with tarfile.open(fileobj=_Bounded(body), mode="r:") as tar:
            for number, entry in enumerate(tar, start=1):
                if is_given_up():
                    return
                unpacked_bytes += entry.size
                if number > MAX_FILES or unpacked_bytes > MAX_UNPACKED_BYTES:
                    raise Rejected(_too_much("the code archive"), status=413)
                if complaint := _complaint(entry) or names.clash(entry):
                    problems.append(Problem(f"code:{entry.name}", complaint))
                elif directory is not None and entry.isreg():
                    _write(tar, entry, directory)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if directory is not None and isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise  # our disk, not the archive
        raise Rejected("the code archive is not a readable tar.gz", (Problem("code", str(error)),)) from error
    if problems:
        raise Rejected("the code archive is not safe to unpack", tuple(problems))


class _Bounded(gzip.GzipFile):
    """Unzips no further than a sane archive is long, and never much at once: tarfile reads a header of any length
    that the archive claims, before we get to see the entry."""

    def __init__(self, body: bytes) -> None:
        super().__init__(fileobj=io.BytesIO(body), mode="rb")

    def read(self, size: int | None = -1) -> bytes:
        """See GzipFile.read. Raises Rejected."""
        if size is None or not 0 <= size <= MAX_READ_BYTES:
            raise Rejected("the code archive has a header of absurd length", status=413)
        self._refuse_beyond(self.tell() + size)
        return super().read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See GzipFile.seek. Raises Rejected."""
        self._refuse_beyond(offset)
        return super().seek(offset, whence)

    def _refuse_beyond(self, position: int) -> None:
        if position > MAX_UNPACKED_BYTES + MAX_FILES * tarfile.RECORDSIZE:
            raise Rejected(_too_much("the code archive"), status=413)


class _Names:
    """What the entries of an archive so far are: files, and folders of others."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def clash(self, entry: tarfile.TarInfo) -> str | None:
        """Note an entry; complain when it makes something both a file and a folder. Raises Rejected."""
        name = str(PurePosixPath(entry.name))
        own, other = (self._folders, self._files) if entry.isdir() else (self._files, self._folders)
        own.add(name)
        both = name if name in other else None
        while (name := name.rpartition("/")[0]) and name not in self._folders:
            self._folders.add(name)
            both = name if name in self._files else both
        if len(self._folders) > MAX_FOLDERS:
            raise Rejected(f"the code archive has more than {MAX_FOLDERS} folders", status=413)
        return both and f"would make {both} both a file and a folder"


def _complaint(entry: tarfile.TarInfo) -> str | None:
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.name or "\0" in entry.name:
        return "leads out of the code directory"
    if entry.issym() or entry.islnk():
        return "is a link; submit the file itself"
    if not (entry.isreg() or entry.isdir()):
        return "is neither a file nor a directory"
    if entry.isreg() and not path.parts:
        return "is a file without a name"
    name = str(path).encode(errors="surrogateescape")
    if len(name) > MAX_PATH_BYTES or max(map(len, name.split(b"/"))) > MAX_NAME_BYTES:
        return f"has a name of more than {MAX_NAME_BYTES} bytes, or a path of more than {MAX_PATH_BYTES}"
    return None


def _write(tar: tarfile.TarFile, entry: tarfile.TarInfo, directory: Path) -> None:
    target = directory / entry.name
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(entry)
    assert source is not None
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, MAX_READ_BYTES // 2)
    target.chmod(0o755 if entry.mode & 0o100 else 0o644)


def _files(directory: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if name not in IGNORED and not Path(folder, name).is_symlink())
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() and not path.resolve().is_relative_to(directory.resolve()):
                raise Rejected(f"{path} is a link that leads out of {directory}; copy the file instead")
            if path.is_file():
                found.append(path)
    return found


def _too_much(what: object) -> str:
    return (
        f"{what} is too large: at most {MAX_FILES} files, {MAX_UNPACKED_BYTES // 2**20} MiB unpacked,"
        f" {MAX_ARCHIVE_BYTES // 2**20} MiB packed. Keep data out of the code directory."
    )

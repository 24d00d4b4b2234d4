"""Snapshots: a folded state in a file, so that a start costs the same whatever the log's length.

A snapshot is a cache. It names the code that folded it and the stream it was folded from; a start under other code or
on another stream ignores it and folds from the beginning. It is written whole or not at all.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

StateT = TypeVar("StateT")

_log = logging.getLogger(__name__)


class _File(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    stream: str
    position: int
    state: msgspec.Raw


class Snapshots(Generic[StateT]):
    """The snapshot file of one state type. With no directory, nothing is kept."""

    def __init__(
        self,
        directory: Path | None,
        name: str,
        state_type: type[StateT],
        packages: tuple[str, ...],
        *,
        enc_hook: Callable[[Any], Any] | None = None,
        dec_hook: Callable[[type, Any], Any] | None = None,
    ) -> None:
        self._path = directory / f"{name}.snapshot" if directory else None
        self._code = code_version(packages) if directory else ""
        self._encoder = msgspec.msgpack.Encoder(enc_hook=enc_hook)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")
        self._writing: Future[None] | None = None
        self._decoder = msgspec.msgpack.Decoder(state_type, dec_hook=dec_hook)

    def load(self, stream: str) -> tuple[int, StateT] | None:
        """Return position and state of the snapshot of this code and stream, or None."""
        if self._path is None or not self._path.exists():
            return None
        try:
            file = msgspec.msgpack.decode(self._path.read_bytes(), type=_File)
            if (file.code, file.stream) != (self._code, stream):
                return None
            return file.position, self._decoder.decode(file.state)
        except (msgspec.MsgspecError, OSError) as error:
            _log.warning("snapshot ignored", extra={"path": str(self._path), "error": repr(error)})
            return None

    def save(self, stream: str, position: int, state: StateT) -> None:
        """Replace the snapshot. A disk that refuses costs a longer start, nothing else."""
        if self._path is not None:
            if self._writing is not None:
                self._writing.result()
            self._write(self._path, self._encoded(stream, position, state))

    def save_behind(self, stream: str, position: int, state: StateT) -> bool:
        """Replace the snapshot by the state as it is now, writing in a thread; say whether that was begun.

        Not while an earlier one is still being written. A large state holds the caller up only while it is encoded.
        """
        if self._path is not None:
            if self._writing is not None and not self._writing.done():
                return False
            self._writing = self._writer.submit(self._write, self._path, self._encoded(stream, position, state))
        return True

    def _encoded(self, stream: str, position: int, state: StateT) -> bytes:
        encoded = msgspec.Raw(self._encoder.encode(state))
        return msgspec.msgpack.encode(_File(code=self._code, stream=stream, position=position, state=encoded))

    def _write(self, path: Path, encoded: bytes) -> None:
        scratch = path.with_suffix(".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with scratch.open("wb") as opened:
                opened.write(encoded)
                opened.flush()
                os.fsync(opened.fileno())
            scratch.replace(path)
        except OSError as error:
            _log.warning("snapshot not written", extra={"path": str(path), "error": repr(error)})


def code_version(packages: tuple[str, ...]) -> str:
    """Return a hash of the packages' Python sources."""
    digest = hashlib.sha256()
    for package in packages:
        spec = find_spec(package)
        assert spec is not None and spec.origin is not None, f"{package} is no package"
        for path in sorted(Path(spec.origin).parent.rglob("*.py")):
            digest.update(path.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()

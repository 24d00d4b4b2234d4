"""The object store: code archives and checkpoints. The only file that imports minio; blocking calls run in threads.

code/<sha256>.tar.gz                  an experiment's code directory
checkpoints/<checkpoint>/<path>       one file of a checkpoint
checkpoints/<checkpoint>/manifest.json   written last: without it the checkpoint does not exist
"""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error

from shared.errors import Refused, Unavailable
from shared.pace import Pace, PacedFile
from shared.settings import S3Settings, tls_context

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 60.0
CHUNK_BYTES = 1024 * 1024
PART_BYTES = 64 * 1024 * 1024
PACED_PART_BYTES = 5 * 1024 * 1024  # the least that S3 takes: a part goes in one burst


#: What an S3 server answers when trying again may help; any other code is its last word.
_TEMPORARY = frozenset(
    {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown", "SlowDownRead",
     "SlowDownWrite", "ServerBusy", "XMinioServerNotInitialized", "XMinioStorageFull", "IncompleteBody", "BadDigest"}
)  # fmt: skip


#: The same where the answer has no XML body: any status of the caller's fault, but not "later" (404 is told apart).
_REFUSAL = re.compile(r"Response code: 4(?!04|08|29)\d\d")


class NotFound(Exception):
    """The object does not exist."""


def code_key(sha256: str) -> str:
    """Return where a code archive lies."""
    return f"code/{sha256}.tar.gz"


def checkpoint_key(checkpoint_id: str, path: str) -> str:
    """Return where one file of a checkpoint lies."""
    return f"checkpoints/{checkpoint_id}/{path}"


def manifest_key(checkpoint_id: str) -> str:
    """Return where a checkpoint's manifest lies."""
    return checkpoint_key(checkpoint_id, "manifest.json")


class ObjectStore:
    """One bucket. Methods raise NotFound, Refused and Unavailable."""

    def __init__(self, settings: S3Settings, pace: Pace | None = None) -> None:
        """`pace` limits what is uploaded from files."""
        self._pace = pace
        url = urlsplit(settings.endpoint)
        self._bucket = settings.bucket
        self._client = Minio(
            url.netloc,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            secure=url.scheme == "https",
            region=settings.region,
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
                retries=urllib3.Retry(total=2, backoff_factor=0.1, status_forcelist=[500, 502, 503, 504]),
                maxsize=8,
                ssl_context=tls_context() if url.scheme == "https" else None,
            ),
        )

    async def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        await asyncio.to_thread(self._ensure_bucket)

    async def put(self, key: str, body: bytes) -> None:
        """Store an object, replacing what was there."""
        await asyncio.to_thread(self._put, key, body)

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file as an object, in parts when it is large."""
        await asyncio.to_thread(self._put_file, key, path)

    async def get(self, key: str) -> bytes:
        """Return a whole object; for small ones."""
        return b"".join([chunk async for chunk in self.stream(key)])

    async def get_file(self, key: str, path: Path) -> None:
        """Write an object to a file, creating its folders."""
        await asyncio.to_thread(self._get_file, key, path)

    async def exists(self, key: str) -> bool:
        """Say whether an object exists."""
        try:
            await asyncio.to_thread(self._stat, key)
        except NotFound:
            return False
        return True

    async def delete_below(self, prefix: str) -> int:
        """Delete every object whose key begins with a prefix; return how many there were. May be repeated."""
        return await asyncio.to_thread(self._delete_below, prefix)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield an object in chunks."""
        response = await asyncio.to_thread(self._open, key)
        try:
            while chunk := await asyncio.to_thread(response.read, CHUNK_BYTES):
                yield chunk
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"the object store broke off: {error}") from error
        finally:
            response.close()
            response.release_conn()

    def _ensure_bucket(self) -> None:
        with _translated(self._bucket):
            if not self._client.bucket_exists(self._bucket):
                self._client.make_bucket(self._bucket)

    def _put(self, key: str, body: bytes) -> None:
        with _translated(key):
            self._client.put_object(self._bucket, key, io.BytesIO(body), len(body))

    def _put_file(self, key: str, path: Path) -> None:
        with _translated(key):
            if self._pace is None:
                self._client.fput_object(self._bucket, key, str(path), part_size=PART_BYTES)
                return
            with path.open("rb") as file:
                size_bytes = path.stat().st_size
                paced = PacedFile(file, self._pace)
                self._client.put_object(self._bucket, key, paced, size_bytes, part_size=PACED_PART_BYTES)  # type: ignore[arg-type] # it is only read

    def _get_file(self, key: str, path: Path) -> None:
        with _translated(key):
            self._client.fget_object(self._bucket, key, str(path))

    def _delete_below(self, prefix: str) -> int:
        with _translated(prefix):
            keys = [found.object_name for found in self._client.list_objects(self._bucket, prefix, recursive=True)]
            for key in keys:
                assert key is not None
                self._client.remove_object(self._bucket, key)
        return len(keys)

    def _stat(self, key: str) -> None:
        with _translated(key):
            self._client.stat_object(self._bucket, key)

    def _open(self, key: str) -> urllib3.BaseHTTPResponse:
        with _translated(key):
            return self._client.get_object(self._bucket, key)


class _translated:  # noqa: N801 # used as a `with` keyword
    """Turns the client's errors into NotFound, Refused and Unavailable.

    rclone's server answers some errors without an XML body: those arrive as InvalidResponseError.
    """

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        match error:
            case S3Error() if error.code in ("NoSuchKey", "NoSuchObject"):
                raise NotFound(self._key) from error
            case S3Error() if error.code not in _TEMPORARY:
                raise Refused(f"the object store refused {self._key}: {error.code}, {error.message}") from error
            case InvalidResponseError() if _REFUSAL.search(str(error)):
                raise Refused(f"the object store refused {self._key}: {error}") from error
            case InvalidResponseError() if "404" in str(error):
                raise NotFound(self._key) from error
            case MinioException() | urllib3.exceptions.HTTPError():
                raise Unavailable(f"the object store failed on {self._key}: {error}") from error

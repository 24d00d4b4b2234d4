"""The object store on an S3 server. The only file that imports minio; all calls block."""

import contextlib
import io
import logging
import re
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error

from shared.errors import NotFound, Refused, Unavailable
from shared.pace import Pace, PacedFile
from shared.settings import S3Settings, tls_context
from shared.source import Source
from shared.uploads import Upload

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 60.0
PART_BYTES = 64 * 1024 * 1024
STREAM_PART_BYTES = 8 * 1024 * 1024  # held in memory
PACED_PART_BYTES = 5 * 1024 * 1024  # the least that S3 takes: a part goes in one burst
MAX_PARTS = 10_000  # of an object, which S3 allows
MAX_OBJECT_BYTES = 5 * 1024**4  # likewise


_log = logging.getLogger(__name__)

#: What an S3 server answers when trying again may help; any other code is its last word.
_TEMPORARY = frozenset(
    {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown", "SlowDownRead",
     "SlowDownWrite", "ServerBusy", "XMinioServerNotInitialized", "XMinioStorageFull", "IncompleteBody", "BadDigest"}
)  # fmt: skip


#: The same where the answer has no XML body: any status of the caller's fault, but not "later" (404 is told apart).
_REFUSAL = re.compile(r"Response code: 4(?!04|08|29)\d\d")


class S3:
    """One bucket. Methods raise NotFound, Refused and Unavailable."""

    def __init__(self, settings: S3Settings, pace: Pace | None) -> None:
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

    def ensure(self) -> None:
        """Create the bucket unless it is there."""
        with _translated(self._bucket):
            if not self._client.bucket_exists(self._bucket):
                self._client.make_bucket(self._bucket)

    def put(self, key: str, body: bytes) -> None:
        """Store an object."""
        with _translated(key):
            self._client.put_object(self._bucket, key, io.BytesIO(body), len(body))

    def put_file(self, key: str, path: Path) -> None:
        """Store a file, in parts when it is large."""
        size_bytes = path.stat().st_size
        if size_bytes > MAX_OBJECT_BYTES:
            raise Refused(f"{key} has {size_bytes:,} bytes; S3 takes {MAX_OBJECT_BYTES:,} of an object at most")
        with _translated(key):
            if self._pace is None:
                part_bytes = _part_bytes(size_bytes, PART_BYTES)
                self._client.fput_object(self._bucket, key, str(path), part_size=part_bytes)
                return
            with path.open("rb") as file:
                paced, part_bytes = PacedFile(file, self._pace), _part_bytes(size_bytes, PACED_PART_BYTES)
                self._client.put_object(self._bucket, key, paced, size_bytes, part_size=part_bytes)  # type: ignore[arg-type] # it is only read

    def put_from(self, key: str, source: Source) -> None:
        """Store what can be read of a source, part by part; nothing, when reading fails."""
        with _translated(key):
            self._client.put_object(
                self._bucket, key, source, -1, part_size=STREAM_PART_BYTES, num_parallel_uploads=1  # type: ignore[arg-type]
            )  # fmt: skip # the source is only read

    def get_file(self, key: str, path: Path) -> None:
        """Write an object to a file, creating its folders."""
        with _translated(key):
            self._client.fget_object(self._bucket, key, str(path))

    def listed(self, folder: str, limit: int) -> list[tuple[str, int | None]]:
        """Return what is in a folder, by name; of folders in it no size."""
        with _translated(folder):
            found = list(islice(self._client.list_objects(self._bucket, folder), limit))
        names = [(str(entry.object_name).removeprefix(folder), entry) for entry in found]
        sizes = [(name.rstrip("/"), None if entry.is_dir else entry.size) for name, entry in names if name]
        return sorted(sizes, key=itemgetter(0))

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders in a folder."""
        with _translated(folder):
            for entry in self._client.list_objects(self._bucket, folder):
                if entry.is_dir:
                    yield str(entry.object_name).removeprefix(folder).rstrip("/")

    def size_below(self, prefix: str) -> int:
        """Return how many bytes the objects have whose key begins with a prefix."""
        with _translated(prefix):
            found = self._client.list_objects(self._bucket, prefix, recursive=True)
            return sum(entry.size or 0 for entry in found)

    def uploads(self, prefix: str) -> Iterator[Upload]:
        """Yield the uploads in parts that were begun of objects whose key begins with a prefix.

        Of several of one object at the end of a page only the first; MinIO and rclone tell only those of a whole key,
        and forget them themselves, after a day or at their end. The client has no public call for either.
        """
        after: str | None = None
        while True:
            try:
                with _translated(prefix):
                    found = self._client._list_multipart_uploads(  # noqa: SLF001 # see above
                        self._bucket, prefix=prefix, key_marker=after
                    )
            except (Refused, NotFound, ParseError, ValueError) as error:  # those that know of no such list answer oddly
                _log.debug("the object store does not list uploads", extra={"error": repr(error)})
                return
            for upload in found.uploads:
                yield Upload(key=str(upload.object_name), upload_id=str(upload.upload_id))
            if not found.is_truncated or not found.uploads:
                return
            after = found.uploads[-1].object_name

    def abort(self, upload: Upload) -> None:
        """Forget the parts of an upload."""
        with contextlib.suppress(NotFound), _translated(upload.key):
            self._client._abort_multipart_upload(  # noqa: SLF001 # there is no public call
                self._bucket, upload.key, upload.upload_id
            )

    def delete(self, key: str) -> None:
        """Delete an object."""
        with _translated(key):
            self._client.remove_object(self._bucket, key)

    def delete_below(self, prefix: str) -> int:
        """Delete every object whose key begins with a prefix."""
        with _translated(prefix):
            keys = [found.object_name for found in self._client.list_objects(self._bucket, prefix, recursive=True)]
            for key in keys:
                assert key is not None
                self._client.remove_object(self._bucket, key)
        return len(keys)

    def check(self, key: str) -> None:
        """Return if the object exists."""
        with _translated(key):
            self._client.stat_object(self._bucket, key)

    def open(self, key: str) -> "_Body":
        """Return what reads an object."""
        with _translated(key):
            return _Body(self._client.get_object(self._bucket, key))


def _part_bytes(size_bytes: int, least_bytes: int) -> int:
    """Return how long the parts of an object are: no longer than they must be for S3 to take them all."""
    return max(least_bytes, -(-size_bytes // MAX_PARTS))


class _Body:
    """An object on its way; closing it gives the connection back."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes. Raises Unavailable."""
        try:
            return self._response.read(size)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"the object store broke off: {error}") from error

    def close(self) -> None:
        """Read no more."""
        self._response.close()
        self._response.release_conn()


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
            case S3Error() if error.code in ("NoSuchKey", "NoSuchObject", "NoSuchUpload"):
                raise NotFound(self._key) from error
            case S3Error() if error.code not in _TEMPORARY:
                raise Refused(f"the object store refused {self._key}: {error.code}, {error.message}") from error
            case InvalidResponseError() if _REFUSAL.search(str(error)):
                raise Refused(f"the object store refused {self._key}: {error}") from error
            case InvalidResponseError() if "404" in str(error):
                raise NotFound(self._key) from error
            case MinioException() | urllib3.exceptions.HTTPError():
                raise Unavailable(f"the object store failed on {self._key}: {error}") from error

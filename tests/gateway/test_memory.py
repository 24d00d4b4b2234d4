"""What is large goes through the gateway in pieces: its memory does not grow with a checkpoint."""

import tracemalloc
from pathlib import Path

from services.gateway.routes import checkpoints
from shared.events import CheckpointFile
from shared.objectstore import CHUNK_BYTES, ObjectStore, checkpoint_key, manifest_key
from tests.gateway.conftest import Api
from tests.tracker import story

SIZE_BYTES = 128 * CHUNK_BYTES
ALLOWED_BYTES = 24 * CHUNK_BYTES  # what sockets, both ends of them, and threads hold of it at a time


async def test_a_large_checkpoint_is_sent_in_pieces(api: Api, tmp_path: Path) -> None:
    checkpoint_id = f"{story.trial()}-a1-s10"
    file = CheckpointFile(path="model.pt", size_bytes=SIZE_BYTES, sha256="ab" * 32)
    seq = await story.tell(
        api.log,
        [story.agent_joined(), story.submitted(), story.requested(), story.allocated(), story.started(),
         story.saved(10, files=(file,))],
    )  # fmt: skip
    large, store = tmp_path / "model.pt", ObjectStore(api.settings.s3)
    with large.open("wb") as body:
        body.truncate(SIZE_BYTES)
    await store.ensure_bucket()
    await store.put_file(checkpoint_key(checkpoint_id, file.path), large)
    await store.put(manifest_key(checkpoint_id), b"{}")
    for path, content_type in ((f"files/{file.path}", checkpoints.BYTES), ("archive", checkpoints.TAR)):
        tracemalloc.start()
        try:
            async with api.http.get(f"{api.url}/api/v1/checkpoints/{checkpoint_id}/{path}?min_seq={seq}") as response:
                assert (response.status, response.content_type) == (200, content_type)
                received = 0
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    received += len(chunk)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert received >= SIZE_BYTES
        assert peak_bytes < ALLOWED_BYTES

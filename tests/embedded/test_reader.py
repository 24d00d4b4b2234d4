"""docs/reference/wire-format.md is true: a program without libraries reads the log as `reader`, and can do no more."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from shared import broker, codec
from tests.shared.samples import SAMPLES, envelope
from tests.support.eventually import PATIENCE_S
from tests.support.servers import PASSWORD, NatsServer
from tests.tracker import story

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/reference/wire-format.md").read_text()
BATCH = b'{"seq":1,"batch":1000}'


class RawConnection:
    """The NATS protocol, spoken by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "RawConnection":
        """Connect as the reader."""
        raw = cls(*await asyncio.open_connection("127.0.0.1", port))
        login = {"verbose": False, "headers": True, "user": "reader", "pass": PASSWORD}
        await raw.say(b"CONNECT " + json.dumps(login).encode())
        await raw.say(b"SUB _INBOX.reader.log 1")
        return raw

    async def say(self, line: bytes) -> None:
        """Send a protocol line."""
        self._writer.write(line + b"\r\n")
        await self._writer.drain()

    async def publish(self, subject: str, body: bytes) -> None:
        """Publish with our inbox as the reply subject."""
        await self.say(f"PUB {subject} _INBOX.reader.log {len(body)}".encode() + b"\r\n" + body)

    async def hear(self) -> tuple[dict[bytes, bytes], bytes]:
        """Return the headers and the body of the next message."""
        while True:
            line = (await self._reader.readuntil(b"\r\n")).split()
            if line[0] == b"-ERR":
                raise PermissionError(line)
            if line[0] == b"HMSG":
                num_header, num_all = int(line[-2]), int(line[-1])
                content = await self._reader.readexactly(num_all + 2)
                headers = dict(one.split(b": ", 1) for one in content[:num_header].split(b"\r\n") if b": " in one)
                return headers, content[num_header:-2]

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()


async def test_the_log_is_read_without_any_library(nats_server: NatsServer) -> None:
    async with broker.connect(nats_server.url, "test") as client:
        last = await story.tell(client, story.whole_search())
    raw = await RawConnection.open(nats_server.port)
    await raw.publish("$JS.API.DIRECT.GET.EVENTS", BATCH)
    async with asyncio.timeout(PATIENCE_S):
        for seq in range(1, last + 1):
            headers, body = await raw.hear()
            assert headers[b"Nats-Sequence"] == str(seq).encode()
            assert headers[b"Nats-Subject"].endswith(codec.decode(body).name.encode())
    await raw.close()


@pytest.mark.parametrize("subject", ["tm.scheduler.pool.default.GPUAllocated", "$JS.API.STREAM.PURGE.EVENTS"])
async def test_a_reader_may_say_nothing(nats_server: NatsServer, subject: str) -> None:
    raw = await RawConnection.open(nats_server.port)
    await raw.publish(subject, b"{}")
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(PermissionError):
            await raw.hear()
    await raw.close()


def test_the_documents_bytes_are_the_golden_ones() -> None:
    golden = (ROOT / "tests/golden/ExperimentPaused.v1.msgpack").read_bytes()
    table = DOCUMENT.partition("<!-- golden -->")[2].partition("<!-- end -->")[0]
    shown = "".join(re.findall(r"^    ([0-9a-f ]+?)  ", table, flags=re.MULTILINE))
    assert bytes.fromhex(shown) == golden == codec.encode(envelope(SAMPLES[1]))

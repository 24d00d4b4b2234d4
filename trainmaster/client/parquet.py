"""Exports as Parquet. The only file that imports pyarrow, which is not installed with Trainmaster (it is large)."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from shared.audit.findings import Kind
from shared.audit.verify import Verification
from shared.errors import Problem, Rejected
from trainmaster.client.export import End, Exporter, Row, row_of

BATCH = 10_000

_END = b"trainmaster.end"


def write(path: Path, exporter: Exporter, lines: Iterable[bytes]) -> None:
    """Write a file; in its metadata stands where the log ended. Raises Rejected when pyarrow is not there."""
    arrow, parquet = _pyarrow()
    rows = exporter.rows(lines)
    with parquet.ParquetWriter(path, _schema(arrow), compression="zstd") as writer:
        while batch := [_values(row) for row in islice(rows, BATCH)]:
            writer.write_table(arrow.Table.from_pylist(batch, schema=_schema(arrow)))
        writer.add_key_value_metadata({_END: msgspec.json.encode(exporter.end)})


def verify(path: Path, verification: Verification) -> None:
    """Read a file's rows into a verification. Raises Rejected when it is no such file."""
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            end = msgspec.json.decode((file.metadata.metadata or {}).get(_END, b""), type=End)
            if not file.schema_arrow.equals(_schema(arrow)):
                raise Rejected("this is no export of the log", (Problem(str(path), "it has other columns"),))
            for batch in file.iter_batches(BATCH):
                for values in batch.to_pylist():
                    _verify_row(values, verification)
    except (arrow.ArrowException, OSError, msgspec.MsgspecError) as error:
        mistake = Problem(str(path), f"it cannot be read: {error}")
        raise Rejected("this is no export of the log", (mistake,)) from error
    if end.num_events != verification.num_events or not end.is_whole:
        verification.find(Kind.CHANGED, verification.expected - 1, "what the file says about its end was changed")
    verification.ended(end.last)


def _verify_row(values: dict[str, Any], verification: Verification) -> None:
    should = _values(row_of(values["seq"], values["subject"], values["body"], values["chain"]))
    columns = [name for name, value in should.items() if values[name] != value]
    if columns:
        verification.changed_line(values["seq"], columns)
    try:
        chain = bytes.fromhex(values["chain"]) if values["chain"] else None
    except ValueError as error:
        verification.unreadable(f"its chain value is none: {error}")
    else:
        verification.read(values["seq"], values["subject"], values["body"], chain)


def _values(row: Row) -> dict[str, Any]:
    return msgspec.structs.asdict(row) | {"event": bytes(row.event).decode()}


def _schema(arrow: Any) -> Any:
    text = arrow.string()
    return arrow.schema(
        [
            arrow.field("seq", arrow.int64(), nullable=False),
            arrow.field("subject", text, nullable=False),
            ("time", arrow.timestamp("us", tz="UTC")),
            ("name", text),
            ("writer", text),
            ("actor", text),
            ("correlation", text),
            ("causes", arrow.list_(arrow.int64())),
            ("event", text),
            arrow.field("body", arrow.binary(), nullable=False),
            ("chain", text),
        ]
    )


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        mistake = Problem("pyarrow", "it is not installed", "pip install pyarrow, or export to a .jsonl file")
        raise Rejected("Parquet needs a library that does not come with Trainmaster", (mistake,)) from error
    return pa, parquet

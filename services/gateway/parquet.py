"""Parquet written as it goes, in constant memory (but for some hundred bytes a row group, which the file ends with).

The format (parquet.apache.org/docs/file-format): each row group holds the columns one after the other, and the footer,
a Thrift structure in the compact protocol, says where each lies. Every column is required, so there are no levels.
Text, mostly the same for many rows, is written as a dictionary and runs of an index into it; numbers are plain.
All pages are gzipped at the lowest level.
"""

import gzip
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from shared.series import Floats, Integers

MAGIC = b"PAR1"

_PLAIN, _RLE, _RLE_DICTIONARY = 0, 3, 8
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_GZIP = 2
_LEVEL = 1

#: The value of every row, as (value, how many rows): text or flags.
Runs: TypeAlias = Sequence[tuple[str, int]] | Sequence[tuple[bool, int]]
Column: TypeAlias = "Runs | Integers | Floats"
_Typed: TypeAlias = tuple[int, bytes]  # a Thrift type and a value of it


class Kind(Enum):
    """What a column holds: its Parquet type and converted type."""

    TEXT = (6, 0)
    INTEGER = (2, None)
    TIMESTAMP_US = (2, 10)  # in UTC
    NUMBER = (5, None)
    FLAG = (0, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    header: bytes
    body: bytes
    uncompressed_bytes: int

    def __len__(self) -> int:
        return len(self.header) + len(self.body)


class Writer:
    """Writes one file: `start`, then `row_group` for each group, then `end`."""

    def __init__(self, columns: Mapping[str, Kind]) -> None:
        self._columns = columns
        self._position = len(MAGIC)
        self._groups: list[_Typed] = []
        self._num_rows = 0

    def start(self) -> bytes:
        """Return what the file begins with."""
        return MAGIC

    def row_group(self, columns: Sequence[Column], num_rows: int) -> bytes:
        """Return a row group, its columns in order."""
        parts: list[bytes] = []
        chunks: list[_Typed] = []
        total_bytes = 0
        for (name, kind), column in zip(self._columns.items(), columns, strict=True):
            pages = list(_pages(kind, column, num_rows))
            chunks.append(self._chunk(name, kind, pages, num_rows))
            total_bytes += sum(len(page.header) + page.uncompressed_bytes for page in pages)
            self._position += sum(map(len, pages))
            parts += (part for page in pages for part in (page.header, page.body))
        self._groups.append(_struct({1: _list(chunks), 2: _i64(total_bytes), 3: _i64(num_rows)}))
        self._num_rows += num_rows
        return b"".join(parts)

    def end(self) -> bytes:
        """Return what the file ends with."""
        root = _struct({4: _text("schema"), 5: _i32(len(self._columns))})
        schema = [root, *(_element(name, kind) for name, kind in self._columns.items())]
        _, footer = _struct(
            {1: _i32(1), 2: _list(schema), 3: _i64(self._num_rows), 4: _list(self._groups), 6: _text("trainmaster")}
        )
        return footer + len(footer).to_bytes(4, "little") + MAGIC

    def _chunk(self, name: str, kind: Kind, pages: Sequence[_Page], num_rows: int) -> _Typed:
        has_dictionary = len(pages) > 1
        fields = {
            1: _i32(kind.value[0]),
            2: _list([_i32(encoding) for encoding in ((_PLAIN, _RLE_DICTIONARY) if has_dictionary else (_PLAIN,))]),
            3: _list([_text(name)]),
            4: _i32(_GZIP),
            5: _i64(num_rows),
            6: _i64(sum(len(page.header) + page.uncompressed_bytes for page in pages)),
            7: _i64(sum(map(len, pages))),
            9: _i64(self._position + (len(pages[0]) if has_dictionary else 0)),
        }
        if has_dictionary:
            fields[11] = _i64(self._position)
        return _struct({2: _i64(self._position), 3: _struct(fields)})


def _pages(kind: Kind, column: Column, num_rows: int) -> Iterator[_Page]:
    plain = {1: _i32(_DATA_PAGE), 5: _data_page(num_rows, _PLAIN)}
    if isinstance(column, array):
        yield _page(_little_endian(column), plain)
    elif kind is Kind.FLAG:
        yield _page(_bits(column), plain)
    else:
        words = {str(value): number for number, value in enumerate(dict.fromkeys(value for value, _ in column))}
        encoded = [word.encode() for word in words]
        dictionary = b"".join(len(word).to_bytes(4, "little") + word for word in encoded)
        yield _page(dictionary, {1: _i32(_DICTIONARY_PAGE), 7: _struct({1: _i32(len(words)), 2: _i32(_PLAIN)})})
        width = max(1, (len(words) - 1).bit_length())
        runs = (_varint(count << 1) + words[str(value)].to_bytes((width + 7) // 8, "little") for value, count in column)
        body = bytes([width]) + b"".join(runs)
        yield _page(body, {1: _i32(_DATA_PAGE), 5: _data_page(num_rows, _RLE_DICTIONARY)})


def _little_endian(numbers: "Integers | Floats") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _bits(runs: Runs) -> bytes:
    bits = position = 0
    for value, count in runs:
        if value:
            bits |= ((1 << count) - 1) << position
        position += count
    return bits.to_bytes((position + 7) // 8, "little")


def _page(body: bytes, fields: dict[int, _Typed]) -> _Page:
    compressed = gzip.compress(body, _LEVEL, mtime=0)
    _, header = _struct(dict(sorted((fields | {2: _i32(len(body)), 3: _i32(len(compressed))}).items())))
    return _Page(header=header, body=compressed, uncompressed_bytes=len(body))


def _data_page(num_rows: int, encoding: int) -> _Typed:
    return _struct({1: _i32(num_rows), 2: _i32(encoding), 3: _i32(_RLE), 4: _i32(_RLE)})


def _element(name: str, kind: Kind) -> _Typed:
    parquet_type, converted = kind.value
    fields = {1: _i32(parquet_type), 3: _i32(0), 4: _text(name)}
    return _struct(fields if converted is None else fields | {6: _i32(converted)})


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _i32(number: int) -> _Typed:
    return 5, _varint(number << 1)  # zigzag; none of ours is negative


def _i64(number: int) -> _Typed:
    return 6, _varint(number << 1)


def _text(text: str) -> _Typed:
    return 8, _varint(len(text.encode())) + text.encode()


def _list(items: Sequence[_Typed]) -> _Typed:
    kind = items[0][0] if items else 12
    header = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + _varint(len(items))
    return 9, header + b"".join(value for _, value in items)


def _struct(fields: Mapping[int, _Typed]) -> _Typed:
    """Ids ascend, and each is at most 15 more than the one before."""
    parts: list[bytes] = []
    last = 0
    for number, (kind, value) in fields.items():
        parts += (bytes([(number - last) << 4 | kind]), value)
        last = number
    return 12, b"".join(parts) + b"\0"

"""Code archives: what is packed comes back, and what is hostile is refused before anything is written."""

import gzip
import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import archive
from shared.errors import Rejected


def test_what_is_packed_comes_back(tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "pkg").mkdir(parents=True)
    (code / "train.py").write_text("print('hello')")
    (code / "pkg" / "model.py").write_text("x = 1")
    (code / "run.sh").write_text("#!/bin/sh")
    (code / "run.sh").chmod(0o755)
    (code / "__pycache__").mkdir()
    (code / "__pycache__" / "junk.pyc").write_text("")
    archive.unpack(archive.pack(code), tmp_path / "out")
    found = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert found == ["pkg/model.py", "run.sh", "train.py"]
    assert (tmp_path / "out" / "run.sh").stat().st_mode & 0o100


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.py").write_text("pass")
    assert archive.pack(tmp_path / "a") == archive.pack(tmp_path / "b")


def test_a_link_out_of_the_directory_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "code" / "train.py").symlink_to(tmp_path / "secret")
    with pytest.raises(Rejected, match="leads out"):
        archive.pack(tmp_path / "code")


def _tar(*entries: tuple[str, bytes, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, kind, link in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            tar.addfile(entry)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "kind", "link", "complaint"),
    [
        ("../evil.py", tarfile.REGTYPE, "", "leads out"),
        ("a/../../evil.py", tarfile.REGTYPE, "", "leads out"),
        ("/etc/cron.d/evil", tarfile.REGTYPE, "", "leads out"),
        ("..\\evil.py", tarfile.REGTYPE, "", "leads out"),
        ("link", tarfile.SYMTYPE, "/etc/passwd", "is a link"),
        ("link", tarfile.LNKTYPE, "train.py", "is a link"),
        ("pipe", tarfile.FIFOTYPE, "", "neither a file nor a directory"),
        ("disk", tarfile.BLKTYPE, "", "neither a file nor a directory"),
        ("", tarfile.REGTYPE, "", "without a name"),
        (".", tarfile.REGTYPE, "", "without a name"),
        ("pkg/" + "x" * 256, tarfile.REGTYPE, "", "has a name of more than 255 bytes"),
        ("ü" * 128 + "/main.py", tarfile.REGTYPE, "", "has a name of more than 255 bytes"),
        ("x" * 255 + "/main.py" * 300, tarfile.REGTYPE, "", "or a path of more than 2048"),
        ("train.py/main.py", tarfile.REGTYPE, "", "train.py both a file and a folder"),
        ("./train.py//pkg/./main.py", tarfile.REGTYPE, "", "train.py both a file and a folder"),
        ("train.py", tarfile.DIRTYPE, "", "train.py both a file and a folder"),
    ],
)
def test_a_hostile_entry_is_named_and_nothing_is_written(
    tmp_path: Path, name: str, kind: bytes, link: str, complaint: str
) -> None:
    body = _tar(("train.py", tarfile.REGTYPE, ""), (name, kind, link))
    with pytest.raises(Rejected, match=complaint) as caught:
        archive.unpack(body, tmp_path / "out")
    assert [problem.path for problem in caught.value.problems] == [f"code:{name}"]
    assert not (tmp_path / "out").exists()


def test_a_file_with_the_name_of_a_folder_before_it_is_named() -> None:
    body = _tar(("a/b/c.py", tarfile.REGTYPE, ""), ("a/d", tarfile.REGTYPE, ""), ("a/b", tarfile.REGTYPE, ""))
    with pytest.raises(Rejected, match="a/b both a file and a folder") as caught:
        archive.check(body)
    assert [problem.path for problem in caught.value.problems] == ["code:a/b"]


@given(st.lists(st.tuples(st.lists(st.sampled_from(["a", "b", "."]), min_size=1, max_size=3), st.booleans())))
def test_what_passes_can_be_unpacked(entries: list[tuple[list[str], bool]]) -> None:
    body = _tar(
        *(("/".join(path), tarfile.DIRTYPE if is_folder else tarfile.REGTYPE, "") for path, is_folder in entries)
    )
    try:
        archive.check(body)
    except Rejected:
        return
    with tempfile.TemporaryDirectory() as directory:
        archive.unpack(body, Path(directory))
        for path, is_folder in entries:
            assert is_folder or Path(directory, *path).is_file()


def test_a_bomb_of_folders_is_refused() -> None:
    body = _tar(*((f"{n}/" + "a/" * 900 + "main.py", tarfile.REGTYPE, "") for n in range(200)))
    with pytest.raises(Rejected, match="more than 100000 folders"):
        archive.check(body)


@pytest.mark.parametrize("body", [b"", b"junk", gzip.compress(b"junk"), _tar(("a", tarfile.REGTYPE, ""))[:-20]])
def test_what_is_no_archive_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected, match="not a readable"):
        archive.check(body)


def test_a_bomb_is_refused_by_its_header() -> None:
    entry = tarfile.TarInfo("zeros")
    entry.size = archive.MAX_UNPACKED_BYTES + 1
    body = gzip.compress(entry.tobuf())
    with pytest.raises(Rejected, match="too large"):
        archive.check(body)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_bomb_in_a_header_is_refused_before_it_is_read(kind: bytes) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, 200 * 1024 * 1024
    body = gzip.compress(header.tobuf() + bytes(header.size))
    with pytest.raises(Rejected, match="absurd length"):
        archive.check(body)


def test_many_files_of_a_sane_archive_pass(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    for number in range(300):
        (tmp_path / "code" / f"{'long' * 30}{number}.py").write_bytes(bytes(number * 100))
    (tmp_path / "code" / "large.bin").write_bytes(bytes(5 * 1024 * 1024))
    archive.unpack(archive.pack(tmp_path / "code"), tmp_path / "out")
    assert (tmp_path / "out" / "large.bin").stat().st_size == 5 * 1024 * 1024

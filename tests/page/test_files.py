"""The page's files: vendored libraries are what their list says, and nothing needs a looser security policy."""

import gzip
import hashlib
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / "services" / "gateway" / "page" / "static"
VENDOR = STATIC / "vendor"
LISTED = re.findall(
    r"^\| \S+ \| [\d.]+ \| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (VENDOR / "VENDOR.md").read_text(), re.MULTILINE
)
OURS = sorted(path for path in STATIC.rglob("*.js") if VENDOR not in path.parents)
IMPORT = re.compile(r'^(?:import|export) .*?from "([^"]+)";$', re.MULTILINE)


@pytest.mark.parametrize(("name", "sha256"), LISTED)
def test_a_vendored_file_is_the_one_that_is_listed(name: str, sha256: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == sha256


def test_every_vendored_file_is_listed() -> None:
    code = {path.name for path in VENDOR.iterdir() if path.suffix in (".js", ".css")}
    assert {name for name, _ in LISTED} == code


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(STATIC)))
def test_a_module_imports_only_files_that_are_there(path: Path) -> None:
    for target in IMPORT.findall(path.read_text()):
        assert (path.parent / target).resolve().is_file(), target


@pytest.mark.parametrize("path", [*OURS, STATIC / "index.html"], ids=lambda path: str(path.relative_to(STATIC)))
def test_a_file_has_no_inline_style_or_script_and_names_no_other_server(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"\bstyle=|\bon[a-z]+=\"|innerHTML|<script(?![^>]*\bsrc=)|https?://", text) == []


def test_all_modules_are_asked_for_at_once() -> None:
    """Else the browser finds out about them one level of imports after the other."""
    found, open_ = set[Path](), [STATIC / "app.js"]
    while open_:
        path = open_.pop().resolve()
        if path not in found:
            found.add(path)
            open_ += [path.parent / target for target in IMPORT.findall(path.read_text())]
    listed = re.findall(r'rel="modulepreload" href="/assets/([^"]+)"', (STATIC / "index.html").read_text())
    assert sorted(listed) == sorted(str(path.relative_to(STATIC)) for path in found - {STATIC / "app.js"})
    assert set(OURS) <= found


def test_the_page_without_the_chart_library_is_small() -> None:
    files = [path for path in STATIC.rglob("*") if path.suffix in (".js", ".css", ".html") and path.name != "uplot.js"]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < 300_000

"""The tokens of `tm login`, by platform, in a file that only its owner can read."""

import json
import os
from pathlib import Path


def path() -> Path:
    """Return where they are kept."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "trainmaster" / "logins.json"


def read(url: str) -> str | None:
    """Return the token for a platform, or None."""
    return _all().get(_key(url))


def write(url: str, token: str | None) -> None:
    """Keep the token for a platform; None forgets it."""
    known = {key: value for key, value in _all().items() if key != _key(url)} | ({_key(url): token} if token else {})
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = file.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        json.dump(known, opened, indent=1)
    scratch.replace(file)


def _all() -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads(path().read_text())
    except FileNotFoundError:
        return {}
    return known


def _key(url: str) -> str:
    return url.rstrip("/")

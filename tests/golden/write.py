"""Write the golden bytes of event versions that have none yet; existing ones are never touched."""

import sys
from pathlib import Path

from shared import codec
from tests.shared.samples import SAMPLES, envelope


def main() -> None:
    """Write the missing files beside this one."""
    for event in SAMPLES:
        path = Path(__file__).parent / f"{type(event).__name__}.v{event.version}.msgpack"
        if not path.exists():
            path.write_bytes(codec.encode(envelope(event)))
            sys.stdout.write(f"wrote {path.name}\n")


if __name__ == "__main__":
    main()

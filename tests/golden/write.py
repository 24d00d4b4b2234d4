"""Write the golden bytes of event versions that have none yet; existing ones are never touched.

`<Event>.v<version>.msgpack` is a sample, `<Event>.v<version>.grounds.msgpack` one with the grounds of its decision.
"""

import sys
from pathlib import Path

from shared import codec
from tests.shared.samples import GROUNDED, SAMPLES, envelope


def main() -> None:
    """Write the missing files beside this one."""
    named = [(event, "") for event in SAMPLES] + [(event, ".grounds") for event in GROUNDED]
    for event, mark in named:
        path = Path(__file__).parent / f"{type(event).__name__}.v{event.version}{mark}.msgpack"
        if not path.exists():
            path.write_bytes(codec.encode(envelope(event)))
            sys.stdout.write(f"wrote {path.name}\n")


if __name__ == "__main__":
    main()

"""Where this checkout lies: the examples, the tests and the benchmarks are beside the packages."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

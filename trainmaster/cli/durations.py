"""Lengths of time as people type them: 90, 90s, 10m, 2h, 1d."""

import re

import click

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd]?)")


class Duration(click.ParamType[float]):
    """Seconds."""

    name = "time"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return a length of time in seconds."""
        if isinstance(value, float):
            return value
        match = _DURATION.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is no length of time; write 90s, 10m, 2h or 1d", param, ctx)
        return float(match[1]) * _UNITS_S[match[2]]

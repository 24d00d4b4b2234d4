"""--slots: what this machine offers, checked before anything is started."""

import click

from shared.slots import num_cpu_slots


class Slots(click.ParamType[str]):
    """`auto`, `cpu:N`, or `cuda` where NVML sees a GPU."""

    name = "slots"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value if an agent can offer that here."""
        try:
            num_cpu_slots(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        if value == "cuda" and (reason := _why_no_gpu()) is not None:
            self.fail(f"'cuda': {reason}; use cpu:N, e.g. cpu:2", param, ctx)
        return value


def _why_no_gpu() -> str | None:
    import pynvml  # only for those who ask for GPUs

    try:
        pynvml.nvmlInit()
        try:
            return None if pynvml.nvmlDeviceGetCount() else "this machine has no GPU"
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        return f"NVML finds no GPU on this machine ({error})"

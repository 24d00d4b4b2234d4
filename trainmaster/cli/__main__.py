"""The `tm` command: `python -m trainmaster.cli`."""

from trainmaster.cli.app import tm

if __name__ == "__main__":
    tm(prog_name="tm")

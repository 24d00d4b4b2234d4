"""The `tm` command: `python -m trainmaster.cli`."""

from trainmaster.cli.app import tm
from trainmaster.client.hints import program

if __name__ == "__main__":
    tm(prog_name=program(), complete_var="_TM_COMPLETE")

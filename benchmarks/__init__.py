"""Benchmarks: each prints a table with the peer or the limit measured in the same run. `tm bench NAME [--json]`."""

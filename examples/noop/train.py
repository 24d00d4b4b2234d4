"""The smallest script there is: it reports one metric and ends. Benchmarks use it to time the platform alone."""

import trainmaster as tm

with tm.trial() as trial:
    trial.report_validation(1, accuracy=1.0)

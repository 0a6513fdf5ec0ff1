"""The Great Expectations check of a table, wired. What a table must hold is in `checks/suite.py` and its files."""

from assets.gates import Gate
from checks.expectations import CHECK, check_expectations
from checks.suite import Suite


def expectations_gate(suite: Suite) -> Gate:
    """Return the gate that asks a month of a table for its suite."""
    return Gate(
        CHECK,
        f"Great Expectations suite of {suite.table}: the contract that its declaration implies, then what its file in "
        "checks/expectations asks. Says which column, what was expected and observed, and shows the rows.",
        lambda batch: check_expectations(suite, batch.rows, batch.partition),
    )

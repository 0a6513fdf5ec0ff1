"""Which blocking checks each table must have passed before anybody reads it. One place, asked by the guard.

The checks that every table of a stage has stand here; those that a file in `checks/tables` adds to a table come after.
"""

from checks import tables

RAW = ("expectations", "history")
FEATURES = ("dbt_tests", "expectations", "history")
TRAINING_SET = ("training_rows", "parity", "leakage")
MODEL = ("promotion", "serving_drift")
SCORES = ("scores_complete", "scores_agree")
PREDICTIONS = ("served_parity",)


def required_checks(table: str) -> tuple[str, ...]:
    """Return the blocking checks of `table`: raw/x, features/x, or <model>/training_set, model, scores, predictions.

    Raises LookupError for a table nobody gates: an ungated table is never read by another stage.
    """
    stage, _, name = table.partition("/")
    if stage == "raw":
        return (*RAW, *tables.blocking_checks_of(table))
    if stage == "features":
        return (*FEATURES, *tables.blocking_checks_of(table))
    if name == "training_set":
        return TRAINING_SET
    if name == "model":
        return MODEL
    if name == "scores":
        return SCORES
    if name == "predictions":
        return PREDICTIONS
    raise LookupError(f"table {table!r} has no blocking checks; add them to checks/required.py")

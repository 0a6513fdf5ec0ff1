"""The gate on predictions, over the whole line: ten answers of a real Triton are what training reads."""

from checks.served_parity import CHECK
from ml.lake import WHOLE

TABLE = "flight_delay/predictions"


def test_the_demos_ten_answers_were_given_the_bits_of_the_offline_rows(line):
    platform = line.platform
    first = platform.lake.history(TABLE)[-1]["version"]
    verdict = platform.verdicts.newest(TABLE, first, WHOLE, CHECK)
    assert verdict.passed
    assert verdict.blocking
    assert (verdict.evidence["landed"], verdict.evidence["compared"], verdict.evidence["differences"]) == (10, 10, 0)
    assert verdict.evidence["values"] > 300
    assert platform.guard.admit("a report", TABLE)

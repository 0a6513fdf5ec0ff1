"""Failures as people read them: one line, with the remedy."""

from assets.failures import LONGEST, one_line, shortened


def test_a_long_message_keeps_what_happened_and_the_remedy_at_its_end():
    told = one_line(LookupError("the check failed: " + "a row\n" * LONGEST + "; correct the source"))
    assert told.startswith("the check failed: a row a row")
    assert told.endswith("; correct the source")
    assert len(told) == LONGEST + len(" ... ")


def test_a_short_message_is_left_whole():
    assert shortened("no such\n model") == "no such model"
    assert one_line(LookupError()) == "LookupError"

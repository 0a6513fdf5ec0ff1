import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.packed import Field, entity_key, pack, unpack

VALUES = {
    "float": st.floats(allow_nan=False),
    "int": st.integers(-(2**63), 2**63 - 1),
    "string": st.text(),
    "bool": st.booleans(),
}
FIELD_AND_VALUE = st.sampled_from(sorted(VALUES)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.none() | VALUES[kind])
)


@given(st.lists(FIELD_AND_VALUE, max_size=20), st.integers(0, 2**60), st.integers(0, 2**60))
def test_a_row_comes_back_as_it_was_packed(columns, event, created):
    fields = [Field(f"f{i}", kind) for i, (kind, _) in enumerate(columns)]
    values = tuple(value for _, value in columns)
    assert unpack(fields, pack(fields, values, event, created)) == (values, event, created)


def test_a_row_of_other_fields_is_refused():
    row = pack([Field("a", "float"), Field("b", "string")], [1.0, "x"], 1, 1)
    with pytest.raises(ValueError, match="does not fit"):
        unpack([Field("a", "string"), Field("b", "string")], row)
    with pytest.raises(ValueError, match="does not fit"):
        unpack([Field("a", "float")], row)


def test_keys_do_not_depend_on_order_and_know_numbers_from_text():
    assert entity_key({"a": "x", "b": 1}) == entity_key({"b": 1, "a": "x"})
    assert entity_key({"a": 1}) != entity_key({"a": "1"})
    assert entity_key({"a": "xb", "b": "y"}) != entity_key({"a": "x", "b": "by"})

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.packed import Field, entity_key, entity_keys, layout_of, pack, unpack

VALUES = {
    "float": st.floats(allow_nan=False),
    "int": st.integers(-(2**63), 2**63 - 1),
    "string": st.text(),
    "bool": st.booleans(),
}
FIELD_AND_VALUE = st.sampled_from(sorted(VALUES)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.none() | VALUES[kind])
)


@given(st.lists(FIELD_AND_VALUE, max_size=70), st.integers(0, 2**60), st.integers(0, 2**60))
def test_a_row_comes_back_as_it_was_packed(columns, event, created):
    fields = [Field(f"f{i}", kind) for i, (kind, _) in enumerate(columns)]
    values = tuple(value for _, value in columns)
    assert unpack(fields, pack(fields, values, event, created)) == (values, event, created)


def test_a_row_of_other_fields_is_refused():
    row = pack([Field("a", "float"), Field("b", "string")], [1.0, "x"], 1, 1)
    with pytest.raises(ValueError, match="another layout"):
        unpack([Field("a", "string"), Field("b", "string")], row)
    with pytest.raises(ValueError, match="another layout"):
        unpack([Field("a", "float")], row)


def test_keys_do_not_depend_on_order_and_know_numbers_from_text():
    assert entity_key({"a": "x", "b": 1}) == entity_key({"b": 1, "a": "x"})
    assert entity_key({"a": 1}) != entity_key({"a": "1"})
    assert entity_key({"a": "xb", "b": "y"}) != entity_key({"a": "x", "b": "by"})


@given(st.lists(st.tuples(*[st.none() | VALUES[kind] for kind in ("float", "string", "bool", "int", "string")])))
def test_many_rows_come_back_as_columns(rows):
    kinds = ("float", "string", "bool", "int", "string")
    layout = layout_of([Field(f"f{i}", kind) for i, kind in enumerate(kinds)])
    for many in (rows, rows * 30):  # few rows are decoded in another way than many
        columns = layout.columns([layout.pack(row, n, n + 1) for n, row in enumerate(many)])
        assert list(zip(*columns.values, strict=True)) == many
        assert list(columns.event_us) == list(range(len(many)))


@given(st.lists(FIELD_AND_VALUE, min_size=1, max_size=70), st.integers(1, 40))
def test_arrays_hold_the_same_numbers_with_nan_for_null(columns, count):
    layout = layout_of([Field(f"f{i}", kind) for i, (kind, _) in enumerate(columns)])
    values = [value for _, value in columns]
    rows = [layout.pack(values if n % 2 else [None] * len(values), n, n + 1) for n in range(count)]
    arrays = layout.arrays(rows)
    assert (arrays.event_us.tolist(), arrays.created_us.tolist()) == (list(range(count)), list(range(1, count + 1)))
    for (kind, value), found in zip(columns, arrays.values, strict=True):
        for n in range(count):
            expected = value if n % 2 else None
            if kind == "string":
                assert found[n] == expected
            else:
                assert (found[n] != found[n]) if expected is None else found[n] == float(expected)


def test_one_row_of_another_layout_among_many_is_refused():
    ours, theirs = layout_of([Field("a", "float")]), layout_of([Field("a", "float"), Field("b", "string")])
    for rows in ([ours.pack([1.0], 1, 1), theirs.pack([1.0, "x"], 1, 1)], [theirs.pack([1.0, ""], 1, 1)] * 2):
        for decode in (ours.columns, ours.arrays):
            with pytest.raises(ValueError, match="another layout"):
                decode(rows)


@pytest.mark.parametrize(("kind", "value"), [("int", 1.5), ("float", "x"), ("string", 7), ("int", 2**63)])
def test_a_value_of_another_kind_is_named(kind, value):
    with pytest.raises(ValueError, match="field 'level' is"):
        pack([Field("count", "int"), Field("level", kind)], [1, value], 1, 1)


def test_a_column_of_keys_is_each_key_and_none_where_a_part_is_missing():
    assert entity_keys({"b": ["y", None, "z"], "a": ["x", "x", 4]}) == [
        entity_key({"a": "x", "b": "y"}),
        None,
        entity_key({"a": 4, "b": "z"}),
    ]
    with pytest.raises(ValueError, match="hold a null"):
        entity_key({"a": None})

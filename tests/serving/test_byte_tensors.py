"""Texts of tensors: byte for byte what the loops of Triton's Python backend make of them."""

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.settings import Settings
from serving import byte_tensors
from serving.triton_files import triton_home


@pytest.fixture(scope="module")
def theirs() -> SimpleNamespace:
    """The two functions of the backend's own file, which can be imported only inside Triton."""
    file = triton_home(Settings()) / "backends" / "python" / "triton_python_backend_utils.py"
    text = Path(file).read_text()
    first, last = text.index("def serialize_byte_tensor"), text.index("def get_input_tensor_by_name")
    found: dict[str, Any] = {"np": np, "struct": struct}
    exec(text[first:last], found)
    return SimpleNamespace(**found)


@given(texts=st.lists(st.one_of(st.text(), st.binary(), st.integers()), max_size=40))
def test_texts_are_serialized_as_the_backend_does_it(theirs: SimpleNamespace, texts: list[Any]) -> None:
    tensor = np.empty((len(texts), 1), dtype=object)
    tensor[:, 0] = texts
    assert byte_tensors.serialize(tensor) == theirs.serialize_byte_tensor(tensor)


@given(texts=st.lists(st.binary(), max_size=40))
def test_texts_are_read_as_the_backend_does_it(theirs: SimpleNamespace, texts: list[bytes]) -> None:
    data = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    ours, expected = byte_tensors.deserialize(data), theirs.deserialize_bytes_tensor(data)
    assert (ours.dtype, ours.shape) == (expected.dtype, expected.shape)
    assert ours.tolist() == expected.tolist() == texts


def test_a_text_of_any_length_goes_there_and_back() -> None:
    texts = [b"", b"x" * 1023, b"x" * 1024, b"x" * 70_000]
    tensor = np.array(texts, dtype=object).reshape(-1, 1)
    assert byte_tensors.deserialize(byte_tensors.serialize(tensor)).tolist() == texts

import numpy as np
import pytest
import torch

from ml.encoding import Scale, learn_encoding, to_arrays
from ml.network import LocalTimeBlock, NumericBlock, TabularNetwork
from tests.ml.synthetic import SPEC, training_rows

NAN = float("nan")


def test_a_number_becomes_a_standard_value_a_missing_flag_and_piecewise_shares():
    block = NumericBlock((Scale(column="x", mean=10.0, std=5.0, knots=(0.0, 10.0, 30.0)),))
    found = block(torch.tensor([[15.0], [-100.0], [1e9], [NAN]]))
    assert found[0].tolist() == pytest.approx([1.0, 0.0, 1.0, 0.25])
    assert found[1].tolist() == pytest.approx([-2.0, 0.0, 0.0, 0.0])
    assert found[2].tolist() == pytest.approx([4.0, 0.0, 1.0, 1.0])
    assert found[3].tolist() == pytest.approx([0.0, 1.0, 0.0, 0.0])


def test_time_of_day_and_weekday_come_from_the_wall_clock():
    block = LocalTimeBlock()
    monday_six = np.datetime64("2013-10-07T06:00:00").astype("datetime64[s]").astype(float)
    found = block(torch.tensor([monday_six, monday_six - 86_400, NAN], dtype=torch.float64))
    assert found[0, :2].tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
    assert torch.equal(found[0, -4:], block.weekday.weight[0])
    assert torch.equal(found[1, -4:], block.weekday.weight[6])
    assert found[2, :6].tolist() == [0.0] * 6


def test_elapsed_minutes_keep_their_seconds_however_late_in_history():
    encoding = learn_encoding(SPEC, training_rows(count=200))
    network = TabularNetwork(encoding, SPEC.network)
    now = 1.38e9  # a float32 steps by 128 s here
    times = torch.tensor([[now, now + 30.0, 0.0], [now, NAN, 0.0]], dtype=torch.float64)
    (found,) = network._elapsed(times[:, [encoding.times.index(name) for name in encoding.times]])
    assert found[0, 0].item() == pytest.approx(np.log1p(0.5), abs=1e-6)
    assert torch.isnan(found[1, 0])


def test_missing_values_never_make_the_probability_missing():
    rows = training_rows(count=50)
    encoding = learn_encoding(SPEC, rows)
    arrays = to_arrays(encoding, rows)
    nothing = (np.zeros_like(arrays.categorical), arrays.numeric * NAN, arrays.times * NAN)
    logits = TabularNetwork(encoding, SPEC.network).eval()(*(torch.from_numpy(part) for part in nothing))
    assert logits.shape == (50,)
    assert torch.isfinite(logits).all()

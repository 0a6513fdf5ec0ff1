import numpy as np
import polars as pl
import pytest
import torch

from ml.batches import encoded
from ml.encoding import learn_encoding
from ml.evaluation import evaluate_binary
from ml.network import TabularNetwork
from ml.split import split_rows
from ml.step import Outputs
from ml.training import fit
from tests.ml.synthetic import SPEC, training_rows

CPU = torch.device("cpu")
PARTS = split_rows(SPEC, training_rows())


def _with(**training):
    return SPEC.model_copy(update={"training": SPEC.training.model_copy(update=training)})


def test_the_network_learns_what_is_there_to_learn_and_is_calibrated():
    model = fit(SPEC, PARTS.train, PARTS.validation, CPU)
    found = evaluate_binary(PARTS.test["late"], model.predict(PARTS.test))
    assert found.roc_auc > 0.75
    assert found.calibration_error < 0.06


def test_calibration_keeps_the_share_of_the_validation_base_rate_that_is_asked():
    def gap(share):
        model = fit(_with(shift_kept=share), PARTS.train, rare, CPU)
        found = evaluate_binary(rare["late"], model.predict(rare))
        return found.mean_probability - found.positive_share

    late = PARTS.validation.filter(pl.col("late") == 1).head(60)
    rare = pl.concat([PARTS.validation.filter(pl.col("late") == 0), late]).sort("row_id")
    assert gap(1.0) == pytest.approx(0, abs=1e-3)
    assert gap(0.0) > gap(0.5) > 0.01


def test_the_same_seed_gives_the_same_model_and_leaves_the_callers_random_state_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first, second = (fit(SPEC, PARTS.train, PARTS.validation, CPU) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.best.validation_loss == pytest.approx(second.best.validation_loss, abs=1e-6)
    np.testing.assert_allclose(first.predict(PARTS.test), second.predict(PARTS.test), atol=1e-6)
    other = fit(_with(seed=8), PARTS.train, PARTS.validation, CPU)
    assert np.abs(other.predict(PARTS.test) - first.predict(PARTS.test)).max() > 1e-4


def test_training_stops_when_validation_no_longer_improves_and_keeps_the_best_epoch():
    model = fit(_with(epochs=60, patience=2, learning_rate=0.05), PARTS.train, PARTS.validation, CPU)
    assert model.stopped_by == "patience"
    assert len(model.epochs) == model.best.number + 2
    assert model.best.validation_loss == min(epoch.validation_loss for epoch in model.epochs)


def test_time_ends_training_with_a_usable_model():
    model = fit(_with(epochs=10_000, patience=10_000), PARTS.train, PARTS.validation, CPU, max_seconds=0.3)
    assert model.stopped_by == "time"
    assert model.seconds < 5
    assert np.isfinite(model.predict(PARTS.test)).all()


def test_every_epoch_is_reported():
    seen = []
    model = fit(SPEC, PARTS.train, PARTS.validation, CPU, seen.append)
    assert seen == list(model.epochs)


def test_a_loss_that_is_no_number_is_a_clear_error():
    with pytest.raises(FloatingPointError, match=r"loss of model 'lateness' is (nan|inf).*learning_rate"):
        fit(_with(learning_rate=1e30), PARTS.train, PARTS.validation, CPU)


def test_the_same_seed_gives_the_same_model_with_several_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        spec = _with(batch_size=2000, epochs=8)
        first, second = (fit(spec, PARTS.train, PARTS.validation, CPU) for _ in range(2))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(first.predict(PARTS.test), second.predict(PARTS.test), atol=1e-6)
    assert first.best.validation_loss == pytest.approx(second.best.validation_loss, abs=1e-6)


def test_a_network_that_cannot_be_compiled_trains_as_it_is_and_says_so():
    def broken(graph, inputs):
        raise RuntimeError("no compiler here")

    encoding, said = learn_encoding(SPEC, PARTS.train), []
    network = TabularNetwork(encoding, SPEC.network).eval()
    rows = encoded(encoding, PARTS.train.head(50), np.zeros((50, 1), np.float32))
    whole = network.outputs(rows.categorical, rows.numeric, rows.times)
    for backend in ("eager", broken):
        heads = Outputs(network, said.append, backend)
        assert torch.equal(heads(rows.categorical, rows.numeric, rows.times), whole)
        assert torch.equal(heads(rows.categorical, rows.numeric, rows.times), whole)
    assert len(said) == 1
    assert "the network is not compiled" in said[0]
    assert "no compiler here" in said[0]

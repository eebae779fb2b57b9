"""Calibration is measured as defined, and a head that is too sure of itself, or too timid, is told apart."""

import numpy as np
import pytest

from ubm_embed.evaluation.calibration import (
    auc,
    brier_score,
    calibration_error_by_chance,
    equal_mass_bins,
    expected_calibration_error,
    logistic_recalibration,
)

SIZE = 4000


def head(slope=1.0, shift=0.0, seed=0):
    """Probabilities whose logits are right once multiplied by `slope` and moved by `shift`, and outcomes."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 1.2, SIZE)
    labels = rng.random(SIZE) < 1 / (1 + np.exp(-logits))
    told = (logits - shift) / slope
    return (1 / (1 + np.exp(-told))).astype(np.float32), labels


class TestBins:
    def test_hold_equal_parts_in_the_order_of_predictions(self):
        predictions, labels = head()
        bins = equal_mass_bins(predictions, labels, 7)
        assert sum(part.count for part in bins) == SIZE
        assert {part.count for part in bins} <= {SIZE // 7, SIZE // 7 + 1}
        assert [part.predicted for part in bins] == sorted(part.predicted for part in bins)
        assert sum(part.count * part.observed for part in bins) == pytest.approx(labels.sum())

    def test_of_fewer_examples_than_bins(self):
        bins = equal_mass_bins(np.array([0.9, 0.1], np.float32), np.array([True, False]))
        assert [(part.predicted, part.observed, part.count) for part in bins] == [
            (pytest.approx(0.1), 0, 1),
            (pytest.approx(0.9), 1, 1),
        ]


class TestExpectedCalibrationError:
    def test_by_hand(self):
        probabilities = np.array([0.1, 0.3, 0.6, 0.8], np.float32)
        labels = np.array([False, True, True, True])
        # |0.2 - 0.5| and |0.7 - 1|, half of the examples each.
        assert expected_calibration_error(probabilities, labels, bins=2) == pytest.approx(0.3)

    def test_is_what_chance_leaves_for_a_calibrated_head(self):
        by_chance = calibration_error_by_chance(head()[0], rounds=200, seed=0)
        errors = [expected_calibration_error(*head(seed=seed)) for seed in range(60)]
        # 57 of 60 at a level of 95%, with a standard error of 1.7.
        assert 51 <= sum(error <= by_chance for error in errors) < 60
        assert expected_calibration_error(*head(slope=0.8)) > by_chance

    def test_grows_for_one_that_is_too_sure(self):
        assert expected_calibration_error(*head(slope=0.3)) > 3 * expected_calibration_error(*head())


class TestRecalibration:
    # Standard errors are 0.04 at this size.
    @pytest.mark.parametrize("slope", [0.4, 1.0, 2.0])
    def test_finds_the_slope(self, slope):
        assert logistic_recalibration(*head(slope=slope))[1] == pytest.approx(slope, rel=0.15)

    def test_finds_the_intercept(self):
        intercept, slope = logistic_recalibration(*head(shift=1.0))
        assert (intercept, slope) == (pytest.approx(1.0, abs=0.15), pytest.approx(1.0, abs=0.15))

    def test_takes_probabilities_of_0_and_1(self):
        probabilities, labels = np.array([0, 1, 0, 1, 1, 0], np.float32), np.array([0, 1, 1, 1, 0, 0], bool)
        assert 0 < logistic_recalibration(probabilities, labels)[1] < 0.2

    @pytest.mark.parametrize("measure", [auc, logistic_recalibration])
    @pytest.mark.parametrize("label", [True, False])
    def test_needs_both_outcomes(self, measure, label):
        with pytest.raises(ValueError, match="both outcomes"):
            measure(np.full(5, 0.5, np.float32), np.full(5, label))


def test_brier_and_auc_by_hand():
    probabilities, labels = np.array([0.2, 0.4, 0.9], np.float32), np.array([False, True, True])
    assert brier_score(probabilities, labels) == pytest.approx((0.04 + 0.36 + 0.01) / 3)
    assert auc(probabilities, labels) == 1
    assert auc(-probabilities, labels) == 0

"""Errors per class and attribute against hand loops over images."""

import math
from dataclasses import replace
from statistics import fmean, pstdev

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from REZSL.evaluation import (
    Predictions,
    correlations,
    error_table,
    mean_table,
    summarise,
    worst_share,
)
from REZSL.modeling import ReZSL
from REZSL.utils.errors import DataError


def make(seed=0, n=30, num_seen=4, num_unseen=3, num_attributes=6, empty=()):
    """Predictions of ``n`` images, none of them of the classes ``empty``."""
    rng = np.random.default_rng(seed)
    classes = num_seen + num_unseen
    signatures = rng.random((classes, num_attributes)).astype(np.float32)
    labels = rng.choice([c for c in range(classes) if c not in empty], n)
    attributes = signatures[labels] + rng.normal(0, 0.3, (n, num_attributes)).astype(np.float32)
    return Predictions(
        attributes, labels, signatures, num_seen, 20.0, tuple(f"class {c}" for c in range(classes)), np.arange(n)
    )


CASES = st.builds(
    make,
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 30),
    num_seen=st.integers(1, 4),
    num_unseen=st.integers(1, 4),
    num_attributes=st.integers(1, 14),
    empty=st.sampled_from([(), (0,), (1,)]),
)


def unit(row):
    length = math.sqrt(sum(float(x) ** 2 for x in row))
    return [float(x) / length for x in row]


def looped_errors(predictions, kind):
    """{class: [error of each attribute]} of the classes that have images."""
    errors = {}
    for c, signature in enumerate(predictions.signatures):
        rows = [unit(a) for a, label in zip(predictions.attributes, predictions.labels, strict=True) if label == c]
        if rows:
            target = unit(signature)
            power = 1 if kind == "absolute" else 2
            errors[c] = [fmean(abs(row[k] - target[k]) ** power for row in rows) for k in range(len(target))]
    return errors


def members(predictions, errors, group):
    return [c for c in errors if group == "all" or (c < predictions.num_seen) == (group == "seen")]


def looped_correlations(predictions, errors, classes, method, of):
    signatures = [unit(row) for row in predictions.signatures]
    correlate = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}[method]
    attributes = range(predictions.signatures.shape[1])
    if of == "class":
        pairs = [([signatures[c][k] for k in attributes], [errors[c][k] for k in attributes]) for c in classes]
    else:
        pairs = [([signatures[c][k] for c in classes], [errors[c][k] for c in classes]) for k in attributes]
    return [correlate(x, y).statistic for x, y in pairs if len(x) > 2 and np.ptp(x) > 1e-6 and np.ptp(y) > 1e-12]


def same(value, expected):
    return value == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@given(CASES, st.sampled_from(["absolute", "squared"]))
@settings(deadline=None, max_examples=30)
def test_the_table_is_that_of_a_loop(predictions, kind):
    table, errors = error_table(predictions, kind), looped_errors(predictions, kind)
    for c in range(len(predictions.signatures)):
        assert same(list(table.error[c]), errors.get(c, [math.nan] * table.error.shape[1]))
        assert table.count[c] == list(predictions.labels).count(c)
    assert list(table.classes("all")) == list(errors)


@given(CASES, st.sampled_from(["absolute", "squared"]))
@settings(deadline=None, max_examples=30)
@pytest.mark.filterwarnings("ignore:.*constant:RuntimeWarning")
def test_the_summary_is_that_of_a_loop(predictions, kind):
    errors = looped_errors(predictions, kind)
    attributes = range(predictions.signatures.shape[1])
    for group, summary in summarise(error_table(predictions, kind)).items():
        classes = members(predictions, errors, group)
        assert summary.classes == len(classes)
        assert summary.images == sum(label in classes for label in predictions.labels)
        of_attribute = [fmean(errors[c][k] for c in classes) for k in attributes] if classes else []
        assert same(summary.error_mean, fmean(of_attribute) if classes else math.nan)
        assert same(summary.error_std, pstdev(of_attribute) if classes else math.nan)
        worst = sorted(of_attribute, reverse=True)[: -(-len(attributes) // 10)]
        assert same(summary.worst_share, sum(worst) / sum(of_attribute) if any(of_attribute) else math.nan)
        for of, count in (("class", summary.classes_correlated), ("attribute", summary.attributes_correlated)):
            for method in ("pearson", "spearman"):
                expected = looped_correlations(predictions, errors, classes, method, of)
                assert count == len(expected)
                assert same(getattr(summary, f"{method}_{of}"), fmean(expected) if expected else math.nan)


def test_classes_weigh_the_same_however_many_images_they_have():
    signatures = np.array([[1.0, 0.0], [0.0, 1.0]])
    attributes = np.array([[0.6, 0.8]] * 3 + [[0.0, 5.0]])
    predictions = Predictions(attributes, np.array([0, 0, 0, 1]), signatures, 1, 20.0, ("a", "b"), np.arange(4))
    table = error_table(predictions)
    assert table.error == pytest.approx(np.array([[0.16, 0.64], [0.0, 0.0]]))
    assert table.attribute_error("all") == pytest.approx([0.08, 0.32])
    assert table.attribute_error("seen") == pytest.approx([0.16, 0.64])
    assert table.attribute_error("unseen") == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize(("kind", "reg_type"), [("absolute", "MAE"), ("squared", "MSE")])
def test_the_errors_are_those_of_remse(kind, reg_type):
    predictions = make()
    rezsl = ReZSL(p=1, p2=1, att_dim=6, train_class_num=7, RegNorm=True, RegType=reg_type)
    pred, labels = torch.from_numpy(predictions.attributes), torch.from_numpy(predictions.labels)
    rezsl.updateWeightsMatrix(pred, torch.from_numpy(predictions.signatures)[labels], labels)
    expected = rezsl.error_mean.numpy()
    present = np.unique(predictions.labels)
    assert error_table(predictions, kind).error[present] == pytest.approx(expected[present], abs=1e-6)


def test_the_default_figures_are_those_of_the_published_code():
    """Its statistics: squared error of unit rows, summed and counted by class; Pearson's r with raw signatures."""
    predictions = make(n=90)
    attributes, signatures = (torch.from_numpy(x).double() for x in (predictions.attributes, predictions.signatures))
    error, count = torch.zeros(7, 6).double(), torch.zeros(7)
    for row, label in zip(attributes, predictions.labels.tolist(), strict=True):
        error[label] += (row / (row.norm() + 1e-10) - signatures[label] / (signatures[label].norm() + 1e-10)) ** 2
        count[label] += 1
    error /= count[:, None]
    pearson = []
    for of_class, values in zip(error, signatures, strict=True):
        x, y = values - values.mean(), of_class - of_class.mean()
        pearson.append(((x * y).sum() / (x.pow(2).sum().sqrt() * y.pow(2).sum().sqrt() + 1e-12)).item())
    summary = summarise(error_table(predictions))["all"]
    assert summary.error_mean == pytest.approx(error.mean().item(), rel=1e-6)
    assert summary.pearson_class == pytest.approx(fmean(pearson), abs=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_known_correlation(sign):
    """Errors that grow with the signature value, or shrink: +1 or -1 for every class and every attribute."""
    table = error_table(make(n=60))
    table = replace(table, error=1 + sign * table.signatures)
    for axis in (0, 1):
        assert correlations(table, "pearson", axis) == pytest.approx(sign)
        assert correlations(replace(table, error=table.error**3), "spearman", axis) == pytest.approx(sign)


def test_a_constant_signature_column_has_no_correlation():
    predictions = make(n=60)
    signatures = predictions.signatures.copy()
    signatures[:, 2] = 0
    table = error_table(replace(predictions, signatures=signatures))
    for method in ("pearson", "spearman"):
        assert list(np.isnan(correlations(table, method, axis=0))) == [False, False, True, False, False, False]
        assert not np.isnan(correlations(table, method, axis=1)).any()
    assert summarise(table)["all"].attributes_correlated == 5


def test_signatures_constant_up_to_float32_have_no_correlation():
    rng = np.random.default_rng(0)
    signatures = np.hstack([np.full((5, 1), 3.0), 4 * np.eye(5)]).astype(np.float32) / np.float32(7)
    labels = np.arange(40) % 5
    predictions = Predictions(rng.random((40, 6)), labels, signatures, 5, 20.0, tuple("abcde"), np.arange(40))
    assert np.isnan(correlations(error_table(predictions), "pearson", axis=0))[0]


@pytest.mark.parametrize("factor", [1.0, 3.0], ids=["exactly none", "none up to rounding"])
def test_no_error(factor):
    predictions = make()
    predictions = replace(predictions, attributes=factor * predictions.signatures[predictions.labels].astype(float))
    summary = summarise(error_table(predictions))["seen"]
    assert summary.error_mean == pytest.approx(0, abs=1e-15) and summary.error_std == pytest.approx(0, abs=1e-15)
    assert (summary.classes_correlated, summary.attributes_correlated) == (0, 0)
    assert math.isnan(summary.pearson_class) and math.isnan(summary.spearman_attribute)
    assert factor != 1 or math.isnan(summary.worst_share)


def test_one_class():
    predictions = make()
    chosen = predictions.labels == 1
    predictions = replace(predictions, attributes=predictions.attributes[chosen], labels=predictions.labels[chosen])
    summaries = summarise(error_table(predictions))
    assert repr(summaries["seen"]) == repr(summaries["all"])  # NaN included
    assert summaries["seen"].classes == summaries["seen"].classes_correlated == 1
    assert summaries["seen"].attributes_correlated == 0 and math.isnan(summaries["seen"].pearson_attribute)
    assert summaries["unseen"].images == 0 and math.isnan(summaries["unseen"].error_mean)


def test_two_points_are_no_correlation():
    table = error_table(make(n=60, num_seen=2, num_unseen=3))
    assert np.isnan(correlations(table, "pearson", axis=0, group="seen")).all()
    assert np.isfinite(correlations(table, "pearson", axis=0, group="unseen")).all()


@pytest.mark.parametrize(
    ("errors", "fraction", "share"),
    [
        ([1.0] * 9 + [11.0], 0.1, 0.55),
        ([1.0] * 30, 0.1, 0.1),  # 0.1 * 30 is a little more than 3 in floating point
        ([1.0, 3.0], 0.1, 0.75),  # at least one attribute
        ([2.0] * 11, 0.1, 2 / 11),
        ([4.0, 1.0, 5.0], 1.0, 1.0),
        ([0.0, 0.0], 0.1, math.nan),
    ],
)
def test_share_of_the_worst(errors, fraction, share):
    assert worst_share(np.array(errors), fraction) == pytest.approx(share, nan_ok=True)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_share_of_a_wrong_fraction(fraction):
    with pytest.raises(ValueError, match=f"fraction is {fraction}"):
        worst_share(np.ones(3), fraction)


def test_the_mean_of_runs():
    a, b = error_table(make()), error_table(make())
    b = replace(b, error=b.error * 3)
    assert mean_table([a, b]).error == pytest.approx(2 * a.error, nan_ok=True)
    assert mean_table([a]).error == pytest.approx(a.error, nan_ok=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: replace(t, kind="absolute"), "squared errors and absolute ones"),
        (lambda t: replace(t, num_seen=3), "4 seen of 7 classes, 6 attributes and 3 seen of 7 classes, 6 attributes"),
        (lambda t: replace(t, class_names=t.class_names[::-1]), "other names"),
        (lambda t: replace(t, signatures=t.signatures[::-1]), "other signatures"),
        (lambda t: replace(t, count=t.count + 1), "other numbers of images"),
    ],
)
def test_runs_on_other_data_have_no_mean(change, reason):
    table = error_table(make())
    with pytest.raises(DataError, match=f"run 3 was not tested on the data of run 1: .*{reason}"):
        mean_table([table, table, change(table)])


def with_value(array, value):
    array = array.copy()
    array[1] = value
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"attributes": with_value(p.attributes, np.nan)}, "predicted attributes of 1 of 30 rows"),
        (lambda p: {"signatures": with_value(p.signatures, np.inf)}, "signatures of 1 of 7 rows are not finite"),
        (lambda p: {"labels": with_value(p.labels, 7)}, r"class numbers in 0\.\.6"),
        (lambda p: {"labels": with_value(p.labels, -1)}, r"class numbers in 0\.\.6"),
        (lambda p: {"labels": p.labels[:0], "attributes": p.attributes[:0]}, "at least one"),
        (lambda p: {"signatures": p.signatures[:, :5]}, r"shape \(30, 6\) for signatures of shape \(7, 5\)"),
    ],
)
def test_predictions_that_cannot_be_analysed(change, message):
    predictions = make()
    with pytest.raises(DataError, match=message):
        error_table(replace(predictions, **change(predictions)))


def test_unknown_words():
    table = error_table(make())
    with pytest.raises(ValueError, match="kind of error is 'cubed', expected one of squared, absolute"):
        error_table(make(), "cubed")
    with pytest.raises(ValueError, match="method is 'kendall', expected pearson or spearman"):
        correlations(table, "kendall", 0)
    with pytest.raises(ValueError, match="group is 'val', expected one of all, seen, unseen"):
        table.classes("val")

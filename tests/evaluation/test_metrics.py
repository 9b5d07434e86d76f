"""Metrics against plain loops over images and classes."""

from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from REZSL.evaluation import (
    ausuc,
    calibrated_stacking,
    confusion_matrix,
    evaluate_gzsl,
    harmonic_mean,
    per_class_accuracy,
    seen_unseen_curve,
    top_k_accuracy,
)

few = settings(max_examples=40, deadline=None)

# both kinds of scores subtract and halve without rounding, so that the loops below meet the very same ties
TIED = st.integers(-2, 2).map(float)
RANDOM = st.floats(-8, 8, width=16)


@st.composite
def cases(draw):
    """(scores, labels, seen): classes and images of both kinds, in any order."""
    seen = draw(st.permutations([True, False, *draw(st.lists(st.booleans(), max_size=4))]))
    labels = [*draw(st.lists(st.integers(0, len(seen) - 1), max_size=10)), seen.index(True), seen.index(False)]
    scores = draw(arrays(np.float64, (len(labels), len(seen)), elements=draw(st.sampled_from([TIED, RANDOM]))))
    return scores, np.array(labels), np.array(seen)


def loop_predictions(scores, seen, gamma):
    calibrated = [
        [s - gamma if of_seen else s for s, of_seen in zip(row, seen, strict=True)] for row in scores.tolist()
    ]
    return [row.index(max(row)) for row in calibrated]


def loop_gzsl(scores, labels, seen, gamma):
    """(U, S, H): for each kind the mean over its classes of the share of their images predicted right."""
    predictions = loop_predictions(scores, seen, gamma)
    accuracy = []
    for kind in (False, True):
        classes = [c for c in range(len(seen)) if seen[c] == kind and c in labels]
        accuracy.append(
            fmean(fmean(p == c for p, y in zip(predictions, labels, strict=True) if y == c) for c in classes)
        )
    unseen_accuracy, seen_accuracy = accuracy
    total = unseen_accuracy + seen_accuracy
    return unseen_accuracy, seen_accuracy, 2 * unseen_accuracy * seen_accuracy / total if total else 0.0


def loop_curve(scores, labels, seen):
    """(U, S, H) at one gamma below, between each two of, and above the margins at which an image changes side."""
    margins = {
        max(s for s, k in zip(row, seen, strict=True) if k) - max(s for s, k in zip(row, seen, strict=True) if not k)
        for row in scores.tolist()
    }
    margins = sorted(margins)
    gammas = [margins[0] - 1, *((a + b) / 2 for a, b in pairwise(margins)), margins[-1] + 1]
    return np.array([loop_gzsl(scores, labels, seen, gamma) for gamma in gammas])


def loop_area(points):
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


@few
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_per_class_accuracy_is_the_share_right_of_each_class(pairs):
    predictions, labels = zip(*pairs, strict=True)
    expected = {c: fmean(p == c for p, y in pairs if y == c) for c in sorted(set(labels))}
    np.testing.assert_allclose(per_class_accuracy(predictions, labels), list(expected.values()), atol=1e-12)
    chosen = [4, 0, 7]
    expected = [expected.get(c, np.nan) for c in chosen]
    np.testing.assert_allclose(per_class_accuracy(predictions, labels, chosen), expected, atol=1e-12)


def test_accuracy_is_a_mean_over_classes_not_over_images():
    scores = np.eye(3)[[0, 0, 0, 1, 1, 2]]
    figures = evaluate_gzsl(scores, [0, 0, 0, 1, 0, 2], [True, True, False])
    assert (figures.gamma, figures.U) == (0.0, 1.0)
    assert (figures.S, figures.H) == pytest.approx(((3 / 4 + 1) / 2, 2 * 0.875 / 1.875))


@few
@given(cases(), st.integers(-20, 20).map(lambda n: n / 4))
def test_stacking_and_gzsl_equal_plain_loops(case, gamma):
    scores, labels, seen = case
    assert calibrated_stacking(scores, seen, gamma).tolist() == loop_predictions(scores, seen, gamma)
    figures = evaluate_gzsl(scores, labels, seen, gamma)
    assert figures.gamma == gamma
    np.testing.assert_allclose([figures.U, figures.S, figures.H], loop_gzsl(scores, labels, seen, gamma), atol=1e-12)


@pytest.mark.parametrize(
    ("unseen", "seen", "expected"),
    [(0.5, 0.5, 0.5), (0.2, 0.6, 0.3), (0.0, 0.0, 0.0), (0, 0, 0.0), (1, 1, 1.0), (0.0, 0.7, 0.0)],
)
def test_harmonic_mean(unseen, seen, expected):
    assert harmonic_mean(unseen, seen) == pytest.approx(expected)


def test_harmonic_mean_of_arrays():
    np.testing.assert_allclose(harmonic_mean([0.0, 0.2], np.array([0.0, 0.6])), [0, 0.3])


@few
@given(cases())
def test_curve_area_and_best_equal_brute_force_over_all_thresholds(case):
    scores, labels, seen = case
    expected = loop_curve(scores, labels, seen)
    curve = seen_unseen_curve(scores, labels, seen)
    np.testing.assert_allclose(np.stack([curve.unseen, curve.seen, curve.harmonic], 1), expected, atol=1e-12)
    assert ausuc(scores, labels, seen) == pytest.approx(loop_area(expected), abs=1e-12)
    assert curve.harmonic[curve.best] == pytest.approx(expected[:, 2].max(), abs=1e-12)
    for gamma, point in zip(curve.gamma, expected, strict=True):  # a gamma of the curve gives the curve's point
        figures = evaluate_gzsl(scores, labels, seen, gamma)
        np.testing.assert_allclose([figures.U, figures.S, figures.H], point, atol=1e-12)


@few
@given(cases())
def test_curve_ends_at_the_accuracies_within_one_kind_and_is_monotone(case):
    scores, labels, seen = case
    curve = seen_unseen_curve(scores, labels, seen)
    among = [np.where(kind, scores, -np.inf).argmax(1) for kind in (seen, ~seen)]
    s, u = (
        per_class_accuracy(p[seen[labels] == k], labels[seen[labels] == k]).mean()
        for p, k in zip(among, (1, 0), strict=True)
    )
    np.testing.assert_allclose(
        [curve.unseen[0], curve.seen[0], curve.unseen[-1], curve.seen[-1]], [0, s, u, 0], atol=1e-12
    )
    assert (np.diff(curve.unseen) >= 0).all()
    assert (np.diff(curve.seen) <= 0).all()
    assert (np.diff(curve.gamma) > 0).all()


def test_curve_worked_by_hand():
    """Margins 3 (seen, right), 1 (unseen, right), -1 (seen, right) and -2 (unseen, wrong among the unseen)."""
    scores = [[3, 0, -9], [1, 0, -9], [0, 1, -9], [0, 1, 2]]
    curve = seen_unseen_curve(scores, [0, 1, 0, 1], [True, False, False])
    assert curve.gamma.tolist() == [-3, -1.5, 0, 2, 4]
    assert curve.unseen.tolist() == [0, 0, 0, 0.5, 0.5]
    assert curve.seen.tolist() == [1, 1, 0.5, 0.5, 0]
    assert ausuc(scores, [0, 1, 0, 1], [True, False, False]) == 0.25
    assert curve.best == 3


def test_equal_margins_move_together():
    """One step from (0, 1) to (1, 0), not a corner at (1, 1) or (0, 0), whatever the order of the images."""
    for labels in ([0, 1], [1, 0]):
        assert ausuc([[2, 1], [1, 0]], labels, [True, False]) == 0.5


@pytest.mark.parametrize(
    ("scores", "area", "best"),
    [
        ([[1, 0, 5], [1, 0, 5]], 0.0, 0.0),  # no unseen image right among the unseen classes
        ([[-1, 5, 1], [-9, 5, 1]], 1.0, 1.0),  # perfect at the right gamma
        ([[0, 0, 0], [0, 0, 0]], 0.5, 0.0),  # constant scores: the first class of either kind
    ],
)
def test_degenerate_predictions(scores, area, best):
    labels, seen = [0, 1], [True, False, False]
    curve = seen_unseen_curve(scores, labels, seen)
    assert (ausuc(scores, labels, seen), curve.harmonic.max()) == (area, best)


@few
@given(st.integers(0, 2**32 - 1))
def test_order_of_classes_and_images_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    scores, labels, seen = rng.normal(size=(12, 5)), np.r_[rng.integers(0, 5, 10), 0, 4], np.arange(5) < 3
    order, images = rng.permutation(5), rng.permutation(12)
    new = (scores[:, order][images], order.argsort()[labels][images], seen[order])
    for a, b in zip(seen_unseen_curve(scores, labels, seen), seen_unseen_curve(*new), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    ours, theirs = (evaluate_gzsl(*arguments, 0.3) for arguments in ((scores, labels, seen), new))
    for name in ("T1", "U", "S", "H", "AUSUC", "unseen_as_seen", "seen_as_unseen"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-12)
    np.testing.assert_allclose(ours.per_class[order], theirs.per_class, atol=1e-12)


@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        lambda a: a.astype(np.float32) if a.dtype == float else a,
        torch.from_numpy,
        lambda a: torch.from_numpy(a).requires_grad_(a.dtype == float),
        lambda a: torch.from_numpy(a).bfloat16() if a.dtype == float else torch.from_numpy(a),
    ],
    ids=["lists", "float32", "torch", "requires_grad", "bfloat16"],
)
def test_lists_arrays_and_tensors_give_the_same(convert):
    rng = np.random.default_rng(2)
    arguments = (
        rng.integers(-8, 8, (20, 5)).astype(float),
        np.r_[rng.integers(0, 5, 18), 0, 3],
        np.array([1, 1, 1, 0, 0], bool),
    )
    scores, labels, seen = map(convert, arguments)
    ours, theirs = (evaluate_gzsl(*given, 1.5, top_k=(2,)) for given in ((scores, labels, seen), arguments))
    assert (ours.T1, ours.U, ours.S, ours.H, ours.top_k) == (theirs.T1, theirs.U, theirs.S, theirs.H, theirs.top_k)
    assert ausuc(scores, labels, seen) == ausuc(*arguments)
    for a, b in zip(seen_unseen_curve(scores, labels, seen), seen_unseen_curve(*arguments), strict=True):
        np.testing.assert_array_equal(a, b)
    predictions = calibrated_stacking(scores, seen, 1.5)
    assert isinstance(predictions, np.ndarray)
    np.testing.assert_array_equal(predictions, calibrated_stacking(arguments[0], arguments[2], 1.5))
    np.testing.assert_array_equal(
        per_class_accuracy(convert(predictions), labels), per_class_accuracy(predictions, labels)
    )


def test_inputs_are_left_alone():
    scores = np.ones((2, 2))
    evaluate_gzsl(scores, [0, 1], [True, False], 5.0)
    ausuc(scores, [0, 1], [True, False])
    assert (scores == 1).all()


def test_without_images_of_one_kind_its_accuracy_and_h_are_nan():
    figures = evaluate_gzsl(np.eye(3)[[0, 1]], [0, 1], [True, True, False])
    assert figures.S == 1
    assert np.isnan([figures.T1, figures.U, figures.H, figures.AUSUC, figures.unseen_as_seen]).all()
    assert (figures.best, figures.curve) == (None, None)


@pytest.mark.parametrize("function", [seen_unseen_curve, ausuc, evaluate_gzsl])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([1, 2], [0, 1], [True, False]),
            r"scores must be \(N, C\), a row for each image and at least one, got \(2,\)",
        ),
        ((np.zeros((0, 2)), [], [True, False]), r"at least one, got \(0, 2\)"),
        (([[1, 2], [1]], [0, 1], [True, False]), "scores must be an array of numbers: "),
        ((None, [0, 1], [True, False]), "scores must be an array of numbers, got NoneType of object"),
        (
            (np.zeros((2, 2), complex), [0, 1], [True, False]),
            "scores must be an array of numbers, got ndarray of complex",
        ),
        ((np.zeros((2, 3)), [0, 1], [True, False]), r"seen must be \(3,\), True or False for each class, got \(2,\)"),
        ((np.zeros((2, 2)), [0, 1, 1], [True, False]), "2 scores for 3 labels"),
        ((np.zeros((2, 2)), [0, 2], [True, False]), r"labels must be class numbers in 0\.\.1"),
        ((np.zeros((2, 2)), [-1, 1], [True, False]), r"labels must be class numbers in 0\.\.1, got -1$"),
        ((np.zeros((2, 2)), [1, 2], [True, False]), r"got 2; where they count from 1, as MATLAB's do, subtract 1"),
        ((np.zeros((2, 2)), [0, 0.5], [True, False]), r"labels must be class numbers in 0\.\.1, got 0\.5"),
        ((np.zeros((2, 2)), [0, np.nan], [True, False]), "labels must be class numbers in 0..1, got nan"),
        ((np.zeros((2, 2)), [0, -np.inf], [True, False]), "labels must be class numbers in 0..1, got -inf"),
        ((np.zeros((2, 2)), [True, False], [True, False]), "labels must be class numbers in 0..1, got True and False"),
        ((np.zeros((2, 2)), np.eye(2), [True, False]), r"labels must be \(n,\), got \(2, 2\)"),
        ((np.zeros((2, 2)), 1, [True, False]), r"labels must be \(n,\), got \(\)"),
        ((np.zeros((2, 2)), ["a", "b"], [True, False]), "labels must be an array of numbers, got list of <U1"),
        (
            (np.zeros((2, 3)), [0, 2], [0, 1, 2]),
            r"seen must be True or False .* 3 classes, got \[0, 1, 2\]; of class num",
        ),
        ((np.zeros((2, 3)), [0, 2], [1, 0, 2]), r"got \[1, 0, 2\]; of class numbers np\.isin"),
        ((np.zeros((2, 3)), [0, 2], [0, 1]), r"seen must be True or False .* 3 classes, got \[0, 1\]"),
        ((np.zeros((2, 2)), [0, 1], [1, 0]), r"got \[1, 0\]; of class numbers"),
        ((np.zeros((2, 3)), [0, 2], [0, 1, 1, 0]), r"seen must be \(3,\), True or False for each class, got \(4,\)"),
        ((np.zeros((2, 3)), [0, 2], [0, 1, -1]), r"got \[ ?0, +1, -1\]"),
        ((np.zeros((2, 3)), [0, 2], [np.nan, 1, 1]), r"got \[nan, +1\., +1\.\]"),
        (([[0, 1], [np.nan, 1]], [0, 1], [True, False]), "scores of image 1 hold NaN or infinity"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.mark.parametrize(
    ("labels", "seen"),
    [([0, 0], [True, False]), ([1, 1], [True, False]), ([0, 1], [True, True]), ([0, 1], [False, False])],
)
def test_a_curve_needs_both_kinds(labels, seen):
    with pytest.raises(ValueError, match="needs classes and images of both kinds"):
        ausuc(np.zeros((2, 2)), labels, seen)


AS_LOADMAT = [
    lambda a: a[:, None],
    lambda a: a[None],
    lambda a: a[:, None].astype(np.uint8),
    lambda a: a[None].astype(float),
    lambda a: torch.from_numpy(a[:, None].astype(np.float32)),
    lambda a: a.astype(np.float16)[:, None, None],
]


@few
@given(cases(), st.sampled_from(AS_LOADMAT), st.sampled_from(AS_LOADMAT), st.booleans())
def test_columns_rows_and_whole_floats_are_what_they_were(case, of_labels, of_seen, as_numbers):
    scores, labels, seen = case
    given_labels = of_labels(labels)
    given_seen = of_seen(seen.astype(int)) if as_numbers and len(seen) > 2 else seen[:, None]
    ours = evaluate_gzsl(scores, given_labels, given_seen, [[0.5]], top_k=[[2.0]])
    theirs = evaluate_gzsl(scores, labels, seen, 0.5, top_k=(2,))
    assert (ours.T1, ours.U, ours.S, ours.H, ours.top_k) == (theirs.T1, theirs.U, theirs.S, theirs.H, theirs.top_k)
    np.testing.assert_array_equal(ours.per_class, theirs.per_class)
    assert ausuc(scores, given_labels, given_seen) == ausuc(scores, labels, seen)
    predictions = calibrated_stacking(scores, given_seen, np.array([[0.5]]))
    np.testing.assert_array_equal(predictions, calibrated_stacking(scores, seen, 0.5))
    of_classes = per_class_accuracy(of_labels(predictions), given_labels, of_labels(np.arange(len(seen))))
    np.testing.assert_array_equal(of_classes, ours.per_class)
    confusion = confusion_matrix(of_labels(predictions), given_labels, len(seen))
    np.testing.assert_array_equal(confusion, confusion_matrix(predictions, labels, len(seen)))
    best = top_k_accuracy(scores, given_labels, np.array([[2.0]]), of_seen(np.ones(len(seen), int)))
    assert best == top_k_accuracy(scores, labels, 2)


def test_small_integers_do_not_overflow():
    """200 * 199 is no uint8."""
    last = np.array([199, 198], np.uint8)
    assert confusion_matrix(last, last, 200)[[198, 199], [198, 199]].tolist() == [1, 1]


SCORES = np.eye(3)
MASK = [True, True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: per_class_accuracy([0], [0, 1]), "1 predictions for 2 labels"),
        (lambda: per_class_accuracy(SCORES, [0, 1, 2]), r"predictions must be \(n,\), got \(3, 3\)"),
        (lambda: per_class_accuracy([0, 1], [0, -1]), "labels must be class numbers, got -1"),
        (lambda: per_class_accuracy([0.5, 1], [0, 1]), r"predictions must be class numbers, got 0\.5"),
        (lambda: per_class_accuracy([1e300, 1], [0, 1]), r"predictions must be class numbers, got 1e\+300"),
        (lambda: per_class_accuracy([0, 1], [0, 1], MASK), "classes must be class numbers, got True and False"),
        (lambda: per_class_accuracy(["a"], ["a"]), "predictions must be an array of numbers, got list of <U1"),
        (lambda: confusion_matrix([3, 0], [0, 1], 3), r"predictions must be class numbers in 0\.\.2, got 3"),
        (lambda: confusion_matrix([0, 1], [0, 1], 2.5), r"num_classes is 2\.5, expected a whole number, 1 or more"),
        (lambda: top_k_accuracy(SCORES, [0, 1, 3], 1), r"labels must be class numbers in 0\.\.2, got 3"),
        (lambda: top_k_accuracy(SCORES, [0, 1], 1), "3 scores for 2 labels"),
        (lambda: top_k_accuracy(SCORES * np.nan, [0, 1, 2], 1), "scores of image 0 hold NaN"),
        (lambda: top_k_accuracy(SCORES, [0, 1, 2], 1.5), r"k is 1\.5, expected a whole number"),
        (lambda: top_k_accuracy(SCORES, [0, 1, 2], 1, [0, 1, 2]), "candidates must be True or False"),
        (lambda: calibrated_stacking(SCORES - np.inf, MASK, 0), "scores of image 0 hold NaN or infinity"),
        (lambda: calibrated_stacking(SCORES, [0, 1, 2], 0), "seen must be True or False"),
        (lambda: evaluate_gzsl(SCORES, [0, 1, 2], MASK, top_k=5), r"top_k must be \(n,\), got \(\)"),
        (lambda: evaluate_gzsl(SCORES, [0, 1, 2], MASK, top_k=(0,)), "top_k is 0, expected a whole number, 1 or more"),
        (lambda: evaluate_gzsl(SCORES, [0, 1, 2], MASK, signatures=np.eye(4)[:3]),
         r"attributes must be \(N, K\) and signatures \(C, K\), a row for each class, got \(3, 3\) and \(3, 4\)"),
        (lambda: evaluate_gzsl(SCORES, [0, 1, 2], MASK, signatures=SCORES, scale=np.nan), "scale is nan"),
    ],
)  # fmt: skip
def test_what_could_be_mistaken_is_refused_in_plain_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "function", [evaluate_gzsl, lambda scores, labels, seen, g: calibrated_stacking(scores, seen, g)]
)
@pytest.mark.parametrize("gamma", [np.nan, np.inf, -np.inf, None, "0.7", [0.1, 0.2], []])
def test_gamma_is_one_finite_number(function, gamma):
    with pytest.raises(ValueError, match=r"gamma (is .*, expected a finite number|must be an array of numbers)"):
        function(SCORES, [0, 1, 2], MASK, gamma)


def loop_share(true, labels, classes):
    """Mean over ``classes`` of the share of their images for which ``true`` holds."""
    return fmean(fmean(t for t, y in zip(true, labels, strict=True) if y == c) for c in classes)


@few
@given(cases(), st.integers(-8, 8).map(lambda n: n / 4), st.integers(1, 4))
def test_all_other_figures_equal_plain_loops(case, gamma, k):
    scores, labels, seen = case
    result = evaluate_gzsl(scores, labels, seen, gamma, top_k=(k,))
    predictions = loop_predictions(scores, seen, gamma)
    present = sorted(set(labels.tolist()))
    unseen_classes, seen_classes = ([c for c in present if seen[c] == kind] for kind in (False, True))
    for c, accuracy in enumerate(result.per_class):
        own = [p == c for p, y in zip(predictions, labels, strict=True) if y == c]
        assert accuracy == pytest.approx(fmean(own)) if own else np.isnan(accuracy)
    crossed = [seen[p] != seen[y] for p, y in zip(predictions, labels, strict=True)]
    assert result.unseen_as_seen == pytest.approx(loop_share(crossed, labels, unseen_classes), abs=1e-12)
    assert result.seen_as_unseen == pytest.approx(loop_share(crossed, labels, seen_classes), abs=1e-12)

    def among_best(row, label, candidates, n):
        ranked = sorted(candidates, key=lambda c: (-row[c], c))
        return label in ranked[:n]

    unseen = [c for c in range(len(seen)) if not seen[c]]
    zsl = [[among_best(row, y, unseen, n) for row, y in zip(scores, labels, strict=True)] for n in (1, k)]
    shifted = scores - gamma * seen
    both = [among_best(row, y, range(len(seen)), k) for row, y in zip(shifted, labels, strict=True)]
    assert result.T1 == pytest.approx(loop_share(zsl[0], labels, unseen_classes), abs=1e-12)
    pairs = ((zsl[1], unseen_classes), (both, unseen_classes), (both, seen_classes))
    expected = [loop_share(right, labels, classes) for right, classes in pairs]
    assert list(result.top_k[k].values()) == pytest.approx(expected, abs=1e-12)
    assert list(result.top_k[k]) == ["T1", "U", "S"]
    assert result.AUSUC == ausuc(scores, labels, seen)
    best = [result.best.U, result.best.S, result.best.H]
    np.testing.assert_allclose(best, loop_gzsl(scores, labels, seen, result.best.gamma), atol=1e-12)
    assert result.best.H == pytest.approx(result.curve.harmonic.max(), abs=1e-12)


@pytest.mark.long
@few
@given(st.integers(0, 2**32 - 1))
def test_the_curve_equals_a_fine_grid_up_to_the_grids_error(seed):
    """A grid misses points, never invents one; scores in thousandths and a half have none between its steps."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(-300, 300, (15, 4)) / 500
    labels, seen = np.r_[rng.integers(0, 4, 13), 0, 3], np.arange(4) < 2
    grid = [loop_gzsl(scores, labels, seen, gamma) for gamma in np.arange(-2.0005, 2, 0.001)]
    assert ausuc(scores, labels, seen) == pytest.approx(loop_area([point[:2] for point in grid]), abs=1e-9)
    assert seen_unseen_curve(scores, labels, seen).harmonic.max() == pytest.approx(max(p[2] for p in grid), abs=1e-9)


@few
@given(st.integers(0, 2**32 - 1))
def test_margins_that_differ_by_rounding_move_together(seed):
    """0.3 - 0.1 is not 0.4 - 0.2: scores in tenths give the points of the same scores times ten."""
    rng = np.random.default_rng(seed)
    scores, labels, seen = rng.integers(-9, 9, (30, 5)), np.r_[rng.integers(0, 5, 28), 0, 4], np.arange(5) < 3
    tenths, whole = (seen_unseen_curve(values, labels, seen) for values in (scores / 10, scores))
    np.testing.assert_allclose(tenths.seen, whole.seen, atol=1e-12)
    np.testing.assert_allclose(tenths.unseen, whole.unseen, atol=1e-12)


def test_attributes_are_scored_by_scaled_cosine():
    rng = np.random.default_rng(0)
    attributes, signatures, seen = rng.normal(size=(12, 3)), rng.random((4, 3)), np.arange(4) < 2
    labels = np.arange(12) % 4
    norms = np.linalg.norm(attributes, axis=1)[:, None] * np.linalg.norm(signatures, axis=1)
    scores = 7 * (attributes @ signatures.T) / norms
    ours = evaluate_gzsl(torch.from_numpy(attributes), labels, seen, 0.4, signatures=signatures, scale=7)
    theirs = evaluate_gzsl(scores, labels, seen, 0.4)
    assert (ours.T1, ours.U, ours.S, ours.AUSUC) == pytest.approx((theirs.T1, theirs.U, theirs.S, theirs.AUSUC))


def test_confusion_counts_pairs():
    matrix = confusion_matrix([0, 2, 2, 1], torch.tensor([0, 0, 0, 2]), 3)
    assert matrix.tolist() == [[1, 0, 2], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(("k", "candidates", "message"), [
    (0, None, "k is 0, expected a whole number, 1 or more"), (1, [True, False], "label 1 is no candidate"),
])  # fmt: skip
def test_top_k_refuses_what_does_not_fit(k, candidates, message):
    with pytest.raises(ValueError, match=message):
        top_k_accuracy(np.eye(2), [0, 1], k, candidates)

"""Figures of single classes, against plain loops."""

from collections import Counter

import numpy as np
import pytest
from stand_ins import make_predictions

from REZSL.evaluation import Predictions, evaluate
from REZSL.report.details import class_details

GAMMA = 0.4


def given_classes(p, gamma, candidates):
    """The class each image is given, by a loop over images and candidates."""
    unit = [a / np.linalg.norm(a) for a in p.signatures]
    given = []
    for attributes in p.attributes:
        scores = {c: p.scale * attributes @ unit[c] / np.linalg.norm(attributes) for c in candidates}
        given.append(max(scores, key=lambda c: scores[c] - gamma * (c < p.num_seen)))
    return given


@pytest.mark.parametrize("seed", range(3))
def test_classes_and_crossings(seed):
    p = make_predictions(seed)
    details = class_details(p, GAMMA)
    zsl, gzsl = given_classes(p, 0, range(4, 7)), given_classes(p, GAMMA, range(7))
    expected = {}
    for c in range(7):
        images = [n for n, label in enumerate(p.labels) if label == c]
        share = sum(gzsl[n] == c for n in images) / len(images)
        among_unseen = sum(zsl[n] == c for n in images) / len(images) if c >= 4 else None
        wrong = Counter((zsl if c >= 4 else gzsl)[n] for n in images if (zsl if c >= 4 else gzsl)[n] != c)
        taken = max(wrong.values(), default=0)
        taken_for = p.class_names[min(c for c in wrong if wrong[c] == taken)] if taken else ""
        expected[p.class_names[c]] = (len(images), among_unseen, share, taken_for, taken)
        for s in range(4):
            if c >= 4:
                assert details.crossing[c - 4, s] == sum(gzsl[n] == s for n in images)
    found = {
        one.name: (one.images, one.zsl, one.gzsl, one.taken_for, one.taken) for one in details.unseen + details.seen
    }
    assert found == expected
    assert [one.zsl for one in details.unseen] == sorted(one.zsl for one in details.unseen)
    assert [one.gzsl for one in details.seen] == sorted(one.gzsl for one in details.seen)
    results = evaluate(p, GAMMA)
    assert (details.T1, details.AUSUC) == (results.T1, results.AUSUC)
    assert np.mean([one.gzsl for one in details.unseen]) == pytest.approx(results.gzsl["fixed"].U)


def swallowing():
    """By hand: seen a, b; unseen c, d. Of c one image is given a and two b, of d two are given b and one is right."""
    rows = [(0, 0), (1, 1), (2, 0), (2, 1), (2, 1), (3, 1), (3, 1), (3, 3)]
    labels, nearest = (np.array(part) for part in zip(*rows, strict=True))
    return Predictions(np.eye(4)[nearest], labels, np.eye(4), 2, 1.0, tuple("abcd"), np.arange(8))


def test_swallowers_and_pairs_by_hand():
    details = class_details(swallowing(), 0.0)
    assert [(one.name, one.images, one.share, one.classes) for one in details.swallowers()] == [
        ("b", 4, 0.8, 2),
        ("a", 1, 0.2, 1),
    ]
    pairs = [(one.unseen, one.seen, one.images, one.share) for one in details.pairs(10)]
    assert pairs == [("c", "b", 2, 2 / 3), ("d", "b", 2, 2 / 3), ("c", "a", 1, 1 / 3)]
    assert [one.images for one in details.pairs(2)] == [2, 2]
    assert class_details(swallowing(), 5.0).swallowers() == class_details(swallowing(), 5.0).pairs(3) == []


def test_classes_without_images_are_left_out():
    p = swallowing()
    kept = np.flatnonzero(np.isin(p.labels, (0, 2)))
    details = class_details(Predictions(p.attributes[kept], p.labels[kept], *list(vars(p).values())[2:6], kept), 0.0)
    assert [one.name for one in details.unseen + details.seen] == ["c", "a"]
    assert [(one.unseen, one.seen, one.share) for one in details.pairs(10)] == [("c", "b", 2 / 3), ("c", "a", 1 / 3)]

"""From predictions to the reported rows."""

import json
from statistics import fmean

import numpy as np
import pytest

from REZSL.evaluation import Predictions, cosine_scores, evaluate, evaluate_gzsl
from REZSL.utils.errors import DataError


def make_predictions(seed=0, n=40, num_seen=4, num_unseen=3, num_attributes=6, scale=20.0):
    """Predictions somewhat better than chance; every class has an image."""
    rng = np.random.default_rng(seed)
    signatures = rng.random((num_seen + num_unseen, num_attributes)).astype(np.float32)
    labels = np.r_[np.arange(len(signatures)), rng.integers(0, len(signatures), n - len(signatures))]
    attributes = signatures[labels] + rng.normal(0, 0.25, (n, num_attributes)).astype(np.float32)
    names = tuple(f"class {c}" for c in range(len(signatures)))
    return Predictions(attributes, labels, signatures, num_seen, scale, names, rng.permutation(n))


def cosine(a, b):
    a, b = a.astype(float), b.astype(float)
    return (a @ b) / ((a @ a) ** 0.5 * (b @ b) ** 0.5)


def test_scores_are_scale_times_cosine():
    p = make_predictions(n=9)
    scores = cosine_scores(p.attributes, p.signatures, 20.0)
    expected = [[20 * cosine(a, s) for s in p.signatures] for a in p.attributes]
    np.testing.assert_allclose(scores, expected, atol=1e-12)
    np.testing.assert_array_equal(cosine_scores(np.zeros((1, 6)), p.signatures, 20.0), np.zeros((1, 7)))


def test_t1_has_unseen_images_and_unseen_candidates_only():
    p = make_predictions()
    hits = {}
    for attributes, label in zip(p.attributes, p.labels, strict=True):
        if label >= p.num_seen:
            similar = {c: cosine(attributes, p.signatures[c]) for c in range(p.num_seen, len(p.signatures))}
            hits.setdefault(label, []).append(max(similar, key=similar.get) == label)
    t1 = evaluate(p, 0.7).T1
    assert t1 == pytest.approx(fmean(map(fmean, hits.values())), abs=1e-12)


def test_a_seen_class_that_beats_the_unseen_ones_costs_u_but_not_t1():
    p = Predictions(
        np.array([[1, 0.9], [1, 0]]), np.array([1, 0]), np.array([[1, 0.8], [0, 1]]), 1, 20.0, ("a", "b"), np.arange(2)
    )
    results = evaluate(p, 0.0)
    assert results.T1 == 1
    assert (results.gzsl["gamma=0"].U, results.gzsl["gamma=0"].S) == (0, 1)


@pytest.mark.parametrize("seed", range(3))
def test_rows(seed):
    p = make_predictions(seed)
    scores = p.scale * np.array([[cosine(a, s) for s in p.signatures] for a in p.attributes])
    seen = np.arange(len(p.signatures)) < p.num_seen
    results = evaluate(p, 0.7)
    assert list(results.gzsl) == ["gamma=0", "fixed", "oracle"]
    for name, row in results.gzsl.items():
        gamma = {"gamma=0": 0.0, "fixed": 0.7}.get(name, row.gamma)
        expected = evaluate_gzsl(scores, p.labels, seen, gamma)
        assert [row.U, row.S, row.H] == pytest.approx([expected.U, expected.S, expected.H], abs=1e-12)
        assert row.uses_test_labels == (name == "oracle")
    grid = [evaluate_gzsl(scores, p.labels, seen, gamma).H for gamma in np.linspace(-25, 25, 1001)]
    best = results.gzsl["oracle"].H
    assert best >= max(grid) - 1e-12
    assert best == pytest.approx(results.curve.harmonic.max(), abs=1e-12)


def test_gamma_applies_to_scaled_scores():
    """Cosines 0.8 (own, seen class) and 0.6: at scale 10 the image turns to the unseen class at gamma 2."""
    p = Predictions(np.array([[0.8, 0.6], [0, 1]]), np.array([0, 1]), np.eye(2), 1, 10.0, ("a", "b"), np.arange(2))
    assert evaluate(p, 1.9).gzsl["fixed"].S == 1
    assert evaluate(p, 2.1).gzsl["fixed"].S == 0


def test_as_dict_is_ready_for_json():
    content = evaluate(make_predictions(), 0.7).as_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert set(content) == {"T1", "AUSUC", "gzsl"}
    figures = {"gamma", "U", "S", "H"}
    assert {name: set(row) for name, row in content["gzsl"].items()} == {
        "gamma=0": figures,
        "fixed": figures,
        "oracle": figures | {"uses_test_labels"},
    }
    assert content["gzsl"]["oracle"]["uses_test_labels"] is True
    assert 0 <= content["T1"] <= 1


def test_predictions_survive_a_round_trip(tmp_path):
    p = make_predictions()
    p.save(tmp_path / "predictions.npz")
    loaded = Predictions.load(tmp_path / "predictions.npz")
    for name, value in vars(p).items():
        np.testing.assert_array_equal(getattr(loaded, name), value, err_msg=name)
        assert type(getattr(loaded, name)) is type(value)
    assert loaded.attributes.dtype == p.attributes.dtype
    assert evaluate(loaded, 0.7).as_dict() == evaluate(p, 0.7).as_dict()
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.npz"]


def test_a_gamma_chosen_elsewhere_gets_its_own_row():
    p = make_predictions()
    with_row, without = evaluate(p, 0.7, val_gamma=1.5), evaluate(p, 0.7)
    assert list(with_row.gzsl) == ["val", "gamma=0", "fixed", "oracle"]
    assert with_row.gzsl["val"] == evaluate(p, 1.5).gzsl["fixed"]
    assert {name: row for name, row in with_row.gzsl.items() if name != "val"} == without.gzsl


def _flip(path, find):
    """Damages one byte, the one ``find(content)`` points at."""
    content = bytearray(path.read_bytes())
    content[find(content)] ^= 0x55
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path, p: path.unlink(),
        lambda path, p: path.write_bytes(b""),
        lambda path, p: path.write_bytes(path.read_bytes()[:-30]),
        lambda path, p: path.write_bytes(b"not an archive"),
        lambda path, p: _flip(path, lambda content: 200),  # the first array
        lambda path, p: _flip(path, lambda content: content.rindex(b"PK\x01\x02") + 10),  # how the last array is packed
        lambda path, p: np.savez(path, **{k: v for k, v in vars(p).items() if k != "labels"}),
        lambda path, p: np.savez(path, **{**vars(p), "class_names": np.array(["a", None])}),
        lambda path, p: np.savez(path, **{**vars(p), "num_seen": np.arange(3)}),
        lambda path, p: np.save(path.open("wb"), p.attributes),
    ],
    ids=["missing", "empty", "cut", "text", "array", "packing", "labels", "objects", "num_seen", "npy"],
)
def test_damaged_predictions_are_named(tmp_path, damage):
    path, p = tmp_path / "predictions.npz", make_predictions()
    p.save(path)
    damage(path, p)
    with pytest.raises(DataError, match=r"predictions\.npz holds no predictions: "):
        Predictions.load(path)

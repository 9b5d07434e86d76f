import logging
import re
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

from REZSL.config import load_config
from REZSL.data import build_data, build_transform, check_data, demo
from REZSL.data.image_file import ImageReader
from REZSL.utils.errors import ConfigError, DataError


def config(tiny, overrides=""):
    small = "DATASETS.IMAGE_SIZE 16 DATASETS.WAYS 2 DATASETS.SHOTS 2 DATALOADER.NUM_WORKERS 0 TEST.IMS_PER_BATCH 5"
    return load_config(None, f"DATASETS.NAME TINY DATASETS.ROOT {tiny.root} {small} {overrides}".split())


FEATURES = "DATASETS.INPUT features MODEL.BACKBONE.TYPE features"


def numbers(tiny, key):
    """0-based image numbers of ``key``, in the file's order."""
    return tiny.att_splits[key][:, 0].astype(int) - 1


def row_of_label(tiny):
    """Signature row of each image: classes 0 2 3 5 are seen, 1 4 unseen."""
    return np.array([[0, 2, 3, 5, 1, 4].index(int(label) - 1) for label in tiny.res101["labels"][:, 0]])


def test_feature_loaders(tiny):
    data = build_data(config(tiny.write(), FEATURES))
    features, rows = tiny.res101["features"].T.astype(np.float32), row_of_label(tiny)
    expected = np.concatenate([numbers(tiny, "test_unseen_loc"), numbers(tiny, "test_seen_loc")])
    assert np.array_equal(data.test_indices, expected)
    batches = list(data.test_loader)
    assert [len(labels) for _, labels in batches] == [5, 5, 5, 5, 2]
    assert np.array_equal(torch.cat([inputs for inputs, _ in batches]), features[expected])
    assert np.array_equal(torch.cat([labels for _, labels in batches]), rows[expected])

    number_of = {features[i].tobytes(): i for i in numbers(tiny, "trainval_loc")}
    drawn = Counter()
    for inputs, labels in data.train_loader:
        images = [number_of[row.numpy().tobytes()] for row in inputs]
        assert labels.tolist() == rows[images].tolist() and inputs.dtype == torch.float32
        drawn.update(images)
    assert drawn == dict.fromkeys(number_of.values(), 1)  # one pass: each training image once
    assert data.feature_dim == 8 and data.attribute_embeddings is None and data.groups is None


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path).convert("RGB")).transpose(2, 0, 1).copy())


def test_image_loaders(tiny):
    data = build_data(config(tiny.write().write_images(), "SOLVER.DATA_AUG resize_only TEST.DATA_AUG resize_crop"))
    rows = row_of_label(tiny)

    def looks(spec, images):
        transform = build_transform(spec, 16)
        folder = tiny.image_root / "TINY_200"
        return torch.stack([transform(pixels(folder / tiny.tails[i])) for i in images])

    inputs, labels = (torch.cat(part) for part in zip(*data.test_loader, strict=True))
    assert torch.equal(inputs, looks("resize_crop", data.test_indices))
    assert labels.tolist() == rows[data.test_indices].tolist()

    trainval = numbers(tiny, "trainval_loc")
    number_of = dict(zip((look.numpy().tobytes() for look in looks("resize_only", trainval)), trainval, strict=True))
    for inputs, labels in data.train_loader:
        assert inputs.shape == (4, 3, 16, 16) and inputs.dtype == torch.uint8
        assert labels.tolist() == [rows[number_of[look.numpy().tobytes()]] for look in inputs]
    assert data.feature_dim is None


def test_keys_of_reading_act(tiny):
    tiny.write().write_images()
    sideways = Image.Exif()
    sideways[0x0112] = 6
    for tail in tiny.tails:
        path = tiny.image_root / "TINY_200" / tail
        Image.fromarray(np.array(Image.open(path))).resize((400, 300)).save(path, exif=sideways)

    def looks(overrides):
        data = build_data(config(tiny, f"TEST.DATA_AUG resize_only DATASETS.IMAGE_SIZE 4 {overrides}"))
        return torch.cat([inputs for inputs, _ in data.test_loader]).float()

    upright, stored = looks(""), looks("DATASETS.UPRIGHT False")
    assert (upright - stored.rot90(-1, (2, 3))).abs().max() <= 1
    assert not torch.equal(upright, stored)
    whole = looks("DATALOADER.SCALED_DECODING False")
    assert not torch.equal(upright, whole)
    transform = build_data(config(tiny, "DATALOADER.SCALED_DECODING False")).train_loader.dataset.transform
    assert transform.reader == ImageReader(upright=True, scaled=False)


def test_test_loader_repeats_itself(tiny):
    data = build_data(config(tiny.write().write_images()))
    first, second = (torch.cat([inputs for inputs, _ in data.test_loader]) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("inputs", "workers"), [("", 2), (FEATURES, 0)], ids=["images", "features"])
def test_only_images_have_loading_processes_on_a_cpu(tiny, inputs, workers):
    tiny.write().write_images()
    data = build_data(config(tiny, f"{inputs} MODEL.DEVICE cpu DATALOADER.NUM_WORKERS 2"))
    assert (data.train_loader.num_workers, data.test_loader.num_workers) == (workers, workers)


@pytest.mark.parametrize(("device", "pinned"), [("auto", True), ("cuda", True), ("cpu", False), ("mps", False)])
def test_batches_are_pinned_where_a_cuda_device_fetches_them(tiny, monkeypatch, device, pinned):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    data = build_data(config(tiny.write(), f"{FEATURES} MODEL.DEVICE {device}"))
    assert (data.train_loader.pin_memory, data.test_loader.pin_memory) == (pinned, pinned)


def test_training_batches_do_not_depend_on_the_number_of_workers(tiny):
    tiny.write().write_images()
    runs = []
    for workers in (0, 2):
        data = build_data(config(tiny, f"DATALOADER.NUM_WORKERS {workers} DATALOADER.N_BATCH 2"))
        run = []
        for epoch in (0, 1):
            data.train_loader.batch_sampler.set_epoch(epoch)
            run.append(torch.cat([inputs for inputs, _ in data.train_loader]))
        runs.append(run)
    assert torch.equal(runs[0][0], runs[1][0]) and torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][0], runs[0][1])


def test_the_seed_decides_the_batches(tiny):
    tiny.write()
    labels = [
        torch.cat([labels for _, labels in build_data(config(tiny, f"{FEATURES} SEED {seed}")).train_loader]).tolist()
        for seed in (1, 1, 2)
    ]
    assert labels[0] == labels[1] != labels[2]


@pytest.mark.parametrize("mode", ["random", "episode"])
@pytest.mark.parametrize(
    ("overrides", "batches", "size"),
    [
        ("DATALOADER.N_BATCH 0", 5, 4),  # 20 training images
        ("DATALOADER.N_BATCH 7", 7, 4),
        ("DATALOADER.N_BATCH 0 DATALOADER.EP_PER_BATCH 2", 2, 8),
        ("DATALOADER.N_BATCH 3 DATALOADER.EP_PER_BATCH 2", 3, 8),
        ("DATALOADER.N_BATCH 0 DATASETS.WAYS 4 DATASETS.SHOTS 5 DATALOADER.EP_PER_BATCH 2", 1, 40),
    ],
)
def test_number_and_size_of_training_batches(tiny, mode, overrides, batches, size):
    loader = build_data(config(tiny.write(), f"{FEATURES} DATALOADER.MODE {mode} {overrides}")).train_loader
    assert len(loader) == batches
    assert [len(labels) for _, labels in loader] == [size] * batches


def test_episodes_hold_ways_classes_of_shots_images(tiny):
    overrides = "DATALOADER.MODE episode DATASETS.WAYS 3 DATASETS.SHOTS 4 DATALOADER.EP_PER_BATCH 2"
    for _, labels in build_data(config(tiny.write(), f"{FEATURES} {overrides}")).train_loader:
        assert set(Counter(labels[:12].tolist()).values()) == set(Counter(labels[12:].tolist()).values()) == {4}


@pytest.mark.parametrize(
    ("scaling", "scaler"), [("standard", StandardScaler()), ("minmax", MinMaxScaler()), ("l2", Normalizer())]
)
def test_feature_scaling_is_fitted_on_trainval_alone(tiny, scaling, scaler):
    tiny.res101["features"] *= np.arange(1, 43)  # test images lie outside what training shows
    data = build_data(config(tiny.write(), f"{FEATURES} DATASETS.FEATURE_SCALING {scaling} DATALOADER.N_BATCH 0"))
    features = tiny.res101["features"].T.astype(np.float32)
    scaler.fit(features[numbers(tiny, "trainval_loc")])
    test = torch.cat([inputs for inputs, _ in data.test_loader])
    assert test.dtype == torch.float32
    torch.testing.assert_close(test, torch.tensor(scaler.transform(features[data.test_indices])))
    train = torch.cat([inputs for inputs, _ in data.train_loader]).numpy()
    expected = scaler.transform(features[numbers(tiny, "trainval_loc")])
    np.testing.assert_allclose(np.sort(train, axis=0), np.sort(expected, axis=0), rtol=1e-5, atol=1e-6)


# ---- what only some models need


def test_word_vectors_are_read_where_they_are_wanted(tiny):
    tiny.write().write_embeddings(6)
    head = f"{FEATURES} MODEL.META_ARCHITECTURE AttentionNet"
    expected = np.load(tiny.root / "Attribute" / "w2v" / "TINY_attribute.npy").astype(np.float32)
    assert np.array_equal(build_data(config(tiny, head)).attribute_embeddings, expected)
    assert build_data(config(tiny, f"{head} MODEL.ATTENTION.EMBEDDING learned")).attribute_embeddings is None
    elsewhere = tiny.root / "elsewhere"
    elsewhere.mkdir()
    np.save(elsewhere / "TINY_attribute.npy", 2 * expected)
    found = build_data(config(tiny, f"{head} MODEL.ATTENTION.W2V_PATH {elsewhere}")).attribute_embeddings
    assert np.array_equal(found, 2 * expected)


def test_missing_word_vectors_are_an_error_only_where_they_are_wanted(tiny):
    build_data(config(tiny.write(), FEATURES))
    with pytest.raises(DataError, match="word vectors are missing"):
        build_data(config(tiny, f"{FEATURES} MODEL.META_ARCHITECTURE GEMNet"))


def test_groups_are_read_where_a_loss_needs_them(tiny):
    tiny.write().write_embeddings()
    overrides = f"{FEATURES} MODEL.META_ARCHITECTURE GEMNet MODEL.LOSS.LAMBDA2 0.1"
    cfg = config(tiny, overrides + " DATASETS.ATTRIBUTE_GROUPS [[0,1],[2,3,4]]")
    assert build_data(cfg).groups == [[0, 1], [2, 3, 4]]
    with pytest.raises(ConfigError, match="no groups are known for 'TINY'"):
        build_data(config(tiny, overrides))


def test_semantic_chooses_the_signatures(tiny):
    tiny.write()
    for semantic, key in (("original", "original_att"), ("normalized", "att")):
        split = build_data(config(tiny, f"{FEATURES} DATASETS.SEMANTIC {semantic}")).split
        assert np.array_equal(split.signatures[0], tiny.att_splits[key][:, 0].astype(np.float32))


def test_the_demo_is_written_on_first_use(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "IMAGES_PER_CLASS", 2)
    monkeypatch.setattr(demo, "TEST_SEEN_PER_CLASS", 1)
    cfg = load_config(None, f"DATASETS.NAME DEMO DATASETS.ROOT {tmp_path} DATALOADER.NUM_WORKERS 0".split())
    data = build_data(cfg)
    assert len(data.split.trainval) == 30 and len(data.test_indices) == 50


# ---- what is refused


@pytest.mark.parametrize("spec", ["resize", "resize_random_crop", "resize_crop+colorjitter"])
def test_a_random_test_transform_is_refused(tiny, spec):
    tiny.write().write_images()
    said = rf"TEST\.DATA_AUG is '{re.escape(spec)}', but a test transform must not be random"
    with pytest.raises(ConfigError, match=said):
        build_data(config(tiny, f"TEST.DATA_AUG {spec}"))


def test_more_ways_than_classes_is_refused(tiny):
    with pytest.raises(ConfigError, match=r"DATASETS\.WAYS is 5, but there are only 4 training classes"):
        build_data(config(tiny.write(), f"{FEATURES} DATALOADER.MODE episode DATASETS.WAYS 5"))


def test_a_file_without_image_files_says_what_to_set(tiny):
    del tiny.res101["image_files"]
    with pytest.raises((ConfigError, DataError), match=r"image_files: set DATASETS\.INPUT features"):
        build_data(config(tiny.write().write_images()))


def test_only_images_in_use_are_looked_for_and_image_root_says_where(tiny):
    """An image in no split may be missing."""
    tiny.att_splits["test_seen_loc"] = tiny.att_splits["test_seen_loc"][1:]
    tiny.write().write_images()
    (tiny.image_root / "TINY_200" / tiny.tails[5]).unlink()
    build_data(config(tiny))
    moved = tiny.image_root.rename(tiny.root / "pictures")
    with pytest.raises(DataError, match=r"image folder .*TINY is missing: .*DATASETS\.IMAGE_ROOT"):
        build_data(config(tiny))
    build_data(config(tiny, f"DATASETS.IMAGE_ROOT {moved}"))


def test_a_damaged_image_is_named_before_training_unless_told_not_to_look(tiny):
    tiny.write().write_images()
    bad = tiny.image_root / "TINY_200" / tiny.tails[8]
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(DataError, match=f"1 of 42 images do not decode, the first is {re.escape(str(bad))}"):
        build_data(config(tiny))
    data = build_data(config(tiny, "DATASETS.CHECK_IMAGES False"))
    with pytest.raises(DataError, match=f"the image {re.escape(str(bad))} does not decode"):
        list(data.test_loader)


# ---- the free checks of the doctor


@pytest.fixture
def logged(caplog, monkeypatch):
    """What the package logs, also where an earlier test has set logging up."""
    monkeypatch.setattr(logging.getLogger("REZSL"), "propagate", True)
    caplog.set_level(logging.INFO, logger="REZSL")
    return caplog


def findings_of(cfg, checks):
    return [(f.level, f.message) for f in check_data(cfg) if f.check in checks]


def record_alike(tiny, row, other):
    tiny.res101["image_files"][row, 0] = tiny.res101["image_files"][other, 0]


def test_what_the_doctor_calls_an_error_ends_a_training(tiny):
    """A path of trainval in test_seen."""
    record_alike(tiny, 6, 0)
    cfg = config(tiny.write().write_images())
    [error] = [message for level, message in findings_of(cfg, ["paths"]) if level == "error"]
    with pytest.raises(DataError, match=re.escape(error)):
        build_data(cfg)


def test_images_of_test_unseen_in_train_loc_end_a_training(tiny):
    moved = tiny.att_splits["test_unseen_loc"][:2].astype(float)
    tiny.att_splits["train_loc"] = np.concatenate([tiny.att_splits["train_loc"], moved])
    with pytest.raises(DataError, match="2 are in test_unseen_loc: unseen classes would be trained on"):
        build_data(config(tiny.write(), FEATURES))


def test_the_first_of_several_errors_is_told_and_how_many_there_are(tiny):
    both = [tiny.att_splits[f"{part}_loc"].astype(float) for part in ("trainval", "test_unseen")]
    tiny.att_splits["trainval_loc"] = np.concatenate(both)
    with pytest.raises(DataError, match=r"share 14 images.*\(1 more: tools/check_data\.py tells all\)") as caught:
        build_data(config(tiny.write(), FEATURES))
    assert "\n" not in str(caught.value)


def test_what_the_doctor_calls_a_warning_is_logged_once(tiny, logged):
    """Labels against folders, names against folders, a path in two parts (of features), a constant attribute."""
    tiny.att_splits["original_att"][2] = 50
    tiny.att_splits["allclasses_names"][:, 0] = [f"{c:03d}.class" for c in (1, 4, 3, 2, 5, 6)]
    record_alike(tiny, 6, 0)
    tiny.res101["image_files"][3, 0] = "/BS/somebody/data/TINY_200/images/003.class/other.jpg"
    cfg = config(tiny.write(), FEATURES)
    expected = [m for level, m in findings_of(cfg, ["paths", "class names", "signatures"]) if level == "warning"]
    logged.clear()
    build_data(cfg)
    assert [r.getMessage() for r in logged.records if r.levelname == "WARNING"] == expected and len(expected) == 4


def test_the_free_checks_read_no_image(tiny, monkeypatch):
    monkeypatch.setattr(sys.modules["REZSL.data.doctor"], "map_images", None)
    assert build_data(config(tiny.write().write_images()))


@pytest.mark.parametrize("features", [True, False])
def test_a_file_without_image_files_is_sent_to_features_only_where_it_has_some(tiny, features):
    del tiny.res101["image_files"]
    if not features:
        del tiny.res101["features"]
    advice = "set DATASETS.INPUT features" if features else "take a file that does"
    with pytest.raises(DataError, match=rf"res101\.mat lists no image_files: {advice}"):
        build_data(config(tiny.write()))


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_an_image_that_is_a_program_in_disguise_starts_none(tiny, fake_gs, cache):
    """Neither check, doctor, cache nor loading opens an EPS file, for which Pillow starts Ghostscript."""
    tiny.write().write_images()
    bad = tiny.image_root / "TINY_200" / tiny.tails[8]
    Image.new("RGB", (8, 8)).save(bad, "EPS")
    said = f"{re.escape(str(bad))}.*it is none of JPEG, PNG"
    with pytest.raises(DataError, match=said):
        build_data(config(tiny))
    with pytest.raises(DataError, match=said):
        list(build_data(config(tiny, f"DATASETS.CHECK_IMAGES False DATALOADER.CACHE {cache}")).test_loader)
    assert [f.message for f in check_data(config(tiny)) if f.level == "error" and str(bad) in f.message]
    assert not fake_gs.exists()

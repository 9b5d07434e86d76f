"""Whole calls of the command line, in this process, on a data set of a few tiny images."""

import json
import sys

import check_data
import numpy as np
import pytest
import scipy.sparse
import yaml
from stand_ins import TinyData, write_cells

from REZSL.config import load_config
from REZSL.data import build_data
from REZSL.data import check_data as find
from REZSL.utils.errors import REZSLError

pytestmark = pytest.mark.long

FEATURES = "DATASETS.INPUT features MODEL.BACKBONE.TYPE features"
BASE = {
    "DATASETS": {"NAME": "TINY", "WAYS": 2, "SHOTS": 2, "IMAGE_SIZE": 32},
    "DATALOADER": {"MODE": "episode"},
    "MODEL": {"META_ARCHITECTURE": "BasicNet"},
}


@pytest.fixture
def check(tiny, tmp_path, capsys):
    """``check("KEY VALUE ...", flag, ...)`` returns the exit status, what was printed and what went to stderr."""
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(BASE))

    def check(overrides="", *flags):
        words = [*flags, "DATASETS.ROOT", str(tiny.root), *overrides.split()]
        status = check_data.main(["--config-file", str(experiment), *words])
        return status, *capsys.readouterr()

    return check


def levels(printed):
    """(level, check) of each line of the table."""
    return [tuple(line.split()[:2]) for line in printed.splitlines()[1:] if line and not line.startswith("TINY")]


def test_sound_images(tiny, check):
    tiny.write().write_images().write_embeddings()
    status, printed, errors = check("MODEL.META_ARCHITECTURE AttentionNet")
    assert status == 0 and not errors
    assert printed.splitlines()[0].split() == ["level", "check", "finding"]
    assert {level for level, _ in levels(printed)} == {"ok", "note"}
    assert f"all 42 images are under {tiny.image_root} and decode" in printed
    assert printed.splitlines()[-1] == "TINY: errors 0, warnings 0, notes 1"


def test_sound_features_need_no_images_and_no_words(tiny, check):
    tiny.write()
    assert check(FEATURES, "--strict")[0] == 0


def test_errors_and_what_is_sound_are_told_together(tiny, check):
    tiny.write().write_images()
    (tiny.image_root / "TINY_200" / tiny.tails[0]).unlink()
    status, printed, _ = check("DATASETS.WAYS 5 MODEL.META_ARCHITECTURE AttentionNet")
    assert status == 1
    assert [line for line in levels(printed) if line[0] == "error"] == [
        ("error", "word"),
        ("error", "images"),
        ("error", "config"),
    ]
    assert "DATASETS.WAYS is 5, but there are only 4 training classes" in printed
    assert ("ok", "splits") in levels(printed) and "TINY: errors 3, warnings 0, notes 0" in printed


def test_strict_takes_warnings_for_errors(tiny, check):
    tiny.att_splits["original_att"][2] = 50
    tiny.write()
    assert check(FEATURES)[0] == 0
    status, printed, _ = check(FEATURES, "--strict")
    assert status == 1 and "warning  signatures" in printed


def test_json_file(tiny, check, tmp_path):
    tiny.att_splits["original_att"][2] = 50
    tiny.write()
    path = tmp_path / "new" / "findings.json"
    status, printed, _ = check(FEATURES, "--json", str(path))
    content = json.loads(path.read_text())
    assert status == 0 and list(content) == ["dataset", "errors", "warnings", "notes", "findings"]
    assert [content[key] for key in ("dataset", "errors", "warnings", "notes")] == ["TINY", 0, 1, 0]
    assert [(f["level"], f["check"].split()[0]) for f in content["findings"]] == levels(printed)
    for finding in content["findings"]:
        assert finding["message"] in printed


def test_json_alone_on_stdout(tiny, check):
    tiny.att_splits["test_seen_loc"] = tiny.att_splits["trainval_loc"]
    tiny.write()
    status, printed, _ = check(FEATURES, "--json", "-")
    content = json.loads(printed)
    assert status == 1 and content["errors"] == 1
    assert [f["check"] for f in content["findings"] if f["level"] == "error"] == ["splits"]


def test_missing_data_are_findings(check):
    status, printed, errors = check(FEATURES)
    assert status == 1 and not errors
    assert levels(printed) == [("error", "files"), ("error", "files")]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("DATASETS.NAMES X", "unknown key DATASETS.NAMES; did you mean 'DATASETS.NAME'?"),
        ("DATASETS.WAYS 0", "DATASETS.WAYS is 0"),
        ("SEED", "overrides come as KEY VALUE pairs"),
    ],
)
def test_a_bad_config_is_one_line(check, overrides, said):
    status, printed, errors = check(overrides)
    assert status == 1 and not printed
    assert errors.startswith("error: ") and said in errors and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("SOLVER.DATA_AUG nothing", "unknown transform 'nothing'"),
        ("TEST.DATA_AUG resize", "a test transform must not be random"),
        ("MODEL.META_ARCHITECTURE GEMNet MODEL.LOSS.LAMBDA2 1", "no groups are known for 'TINY'"),
    ],
)
def test_keys_that_do_not_suit_the_data(tiny, check, overrides, said):
    tiny.write().write_images().write_embeddings()
    status, printed, _ = check(overrides)
    assert status == 1 and said in printed
    assert [line for line in levels(printed) if line[0] == "error"] == [("error", "config")]


@pytest.mark.parametrize(
    ("overrides", "level"),
    [
        ("", "warning"),
        ("MODEL.BACKBONE.WEIGHTS some.pth MODEL.BACKBONE.PRETRAINED False", "warning"),
        (FEATURES, "note"),
        ("MODEL.BACKBONE.PRETRAINED False", None),
    ],
)
def test_imagenet_matters_to_what_knows_it(tiny, check, overrides, level):
    tiny.att_splits["allclasses_names"][1, 0] = "Indigo_Bunting"
    tiny.write().write_images()
    _, printed, _ = check(overrides)
    assert [line[0] for line in levels(printed) if line[1] == "ImageNet"] == [level] * (level is not None)


def test_weights_elsewhere(tiny, check, tmp_path):
    """IMAGE_ROOT and W2V_PATH are followed."""
    tiny.write().write_images().write_embeddings()
    (tiny.root / "Attribute" / "w2v").rename(tmp_path / "words")
    tiny.image_root.rename(tmp_path / "photos")
    where = f"DATASETS.IMAGE_ROOT {tmp_path / 'photos'} MODEL.ATTENTION.W2V_PATH {tmp_path / 'words'}"
    assert check("MODEL.META_ARCHITECTURE AttentionNet")[0] == 1
    status, printed, _ = check(f"MODEL.META_ARCHITECTURE AttentionNet {where}")
    assert status == 0 and ("ok", "word") in levels(printed)
    assert "word" not in {name for _, name in levels(check(f"DATASETS.IMAGE_ROOT {tmp_path / 'photos'}")[1])}


BREAKS = {
    "gone": None,
    "empty": lambda a: np.empty((0, 0)),
    "zeros": lambda a: 0.0 * a,
    "negative": lambda a: -1.0 * a,
    "huge": lambda a: 1e300 * a,
    "beyond float64": lambda a: a + 2.0**53,
    "NaN": lambda a: a * np.nan,
    "infinity": lambda a: a * np.inf,
    "halves": lambda a: a + 0.5,
    "text": lambda a: "abc",
    "cells": lambda a: write_cells("abc"),
    "cells of numbers": lambda a: write_cells([np.array([[i]]) for i in np.ravel(a)]),
    "complex": lambda a: a + 1j,
    "logical": lambda a: a > 3,
    "uint64": lambda a: a.astype(np.uint64) + np.uint64(2**63),
    "least int64": lambda a: np.full(a.shape, -(2**63), np.int64),
    "a matrix": lambda a: a[: len(a) // 2 * 2].reshape(-1, 2),
    "two columns": lambda a: np.tile(a, (1, 2)),
    "three axes": lambda a: np.tile(a[:, :, None], (1, 1, 2)),
    "one": lambda a: a[:1],
    "twice": lambda a: np.concatenate([a, a]),
    "counted from 0": lambda a: a - 1.0,
    "a struct": lambda a: {"a": a},
    "sparse": lambda a: scipy.sparse.csc_array(a.astype(float)),
}
ARRAYS = ["labels", "trainval_loc", "test_seen_loc", "test_unseen_loc", "train_loc", "val_loc"]


@pytest.mark.parametrize("key", [*ARRAYS, "image_files", "allclasses_names"])
def test_broken_arrays_are_findings_and_what_is_an_error_ends_a_training(tmp_path, key):
    words = f"DATASETS.NAME TINY DATASETS.ROOT {tmp_path} DATASETS.WAYS 2 DATASETS.SHOTS 2 {FEATURES}"
    cfg = load_config(None, words.split())
    errors = {}
    for name, change in BREAKS.items():
        if key not in ARRAYS and name not in ("gone", "empty", "text", "cells", "a struct"):
            continue
        tiny = TinyData(tmp_path)
        content = tiny.res101 if key in tiny.res101 else tiny.att_splits
        content[key] = change(content[key]) if change else None
        if not change:
            del content[key]
        tiny.write()
        findings = find(cfg)
        assert findings and not any("\n" in finding.message for finding in findings)
        errors[name] = [f.message for f in findings if f.level == "error" and f.check not in ("duplicates", "config")]
        try:
            build_data(cfg)
            refused = False
        except REZSLError:
            refused = True
        assert refused == bool(errors[name]), (name, errors[name])
    harmless = {name for name, found in errors.items() if not found}
    sound = {"gone", "empty"} if key in ("test_seen_loc", "image_files", "allclasses_names") else set()
    sound |= {"gone"} if key in ("train_loc", "val_loc") else set()  # then there are no validation classes
    assert harmless - {"one", "counted from 0"} == sound


def test_the_demo_is_sound(check, demo_root):
    status, printed, _ = check(f"DATASETS.NAME DEMO DATASETS.ROOT {demo_root} MODEL.META_ARCHITECTURE AttentionNet")
    assert status == 0 and "DEMO: errors 0, warnings 0" in printed
    assert "related words belong to dependent attributes" in printed


def test_the_demo_is_written_and_no_other_data(check, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(sys.modules["REZSL.data.build"], "write_demo", written.append)
    check(FEATURES)
    assert not written
    check(f"DATASETS.NAME DEMO DATASETS.ROOT {tmp_path} {FEATURES}")
    assert written == [tmp_path]


def test_nothing_is_logged_beside_the_table(tiny, check):
    """-1 in original_att and rows outside trainval are findings, not log lines too."""
    tiny.att_splits["original_att"][1, 2] = -1
    strays = tiny.att_splits["test_seen_loc"][:2].astype(float)
    tiny.att_splits["train_loc"] = np.concatenate([tiny.att_splits["train_loc"].astype(float), strays])
    tiny.write()
    status, printed, errors = check(FEATURES)
    assert status == 0 and not errors
    assert [line for line in levels(printed) if line[0] != "ok"] == [("warning", "splits"), ("note", "signatures")]

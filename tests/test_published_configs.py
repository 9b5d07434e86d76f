"""Every experiment file builds its model and, given data in the real formats, trains one step."""

import pytest
import torch
from stand_ins import REPOSITORY, TinyData

from REZSL.config import load_config
from REZSL.data import build_data
from REZSL.modeling import build_modeling
from REZSL.solver import build_solver

ATTRIBUTES = {"CUB": 312, "SUN": 102, "AWA2": 85, "DEMO": 24}
FILES = sorted((REPOSITORY / "config").rglob("*.yaml"))
OTHER_NUMBERS_ONLY = "2023"  # of the same models: these need no training step of their own


@pytest.mark.long
@pytest.mark.parametrize("file", [f for f in FILES if f.parent.name != OTHER_NUMBERS_ONLY], ids=lambda file: file.stem)
def test_experiment_trains_one_step(file, tmp_path, monkeypatch):
    name = load_config(file).DATASETS.NAME
    if load_config(file).MODEL.BACKBONE.TYPE == "timm":
        pytest.importorskip("timm")
    TinyData(tmp_path, name, ATTRIBUTES[name]).write().write_images().write_embeddings(300)
    small = "DATASETS.IMAGE_SIZE 32 DATASETS.WAYS 4 DATALOADER.N_BATCH 1 DATALOADER.NUM_WORKERS 0"
    pretrained = "MODEL.BACKBONE.PRETRAINED False MODEL.DEVICE cpu"
    cfg = load_config(file, f"DATASETS.ROOT {tmp_path} {small} {pretrained}".split())
    data = build_data(cfg)
    split = data.split
    signatures = split.signatures[: split.num_seen]
    model, criterion = build_modeling(
        cfg, signatures, split.num_attributes, data.attribute_embeddings, data.groups, data.feature_dim
    )
    optimizer, _ = build_solver(cfg, model, criterion, len(data.train_loader))

    ((inputs, labels),) = data.train_loader
    terms = criterion(model(inputs), labels)
    wanted = [key for key in ("LAMBDA0", "LAMBDA1", "LAMBDA2", "LAMBDA3") if cfg.MODEL.LOSS[key]]
    assert len(terms) == len(wanted)
    before = [p.detach().clone() for p in model.head.parameters()]
    criterion.total(terms).backward()
    optimizer.step()
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, model.head.parameters(), strict=True))


def settings_of(file):
    cfg = load_config(REPOSITORY / "config" / "AttentionNet" / file)
    model, solver = cfg.MODEL, cfg.SOLVER
    batch = (cfg.DATASETS.WAYS, cfg.DATASETS.SHOTS, cfg.DATALOADER.N_BATCH, solver.MAX_EPOCH, solver.STEPS)
    assert (*batch, solver.STEP_OFFSET) == (16, 2, 300, 30, 10, 1), file
    remse = (model.REZSL.P, model.REZSL.P2, model.REZSL.WEIGHT_TYPE)
    loss = (model.HID_DIM, model.SCALE, model.LOSS.LAMBDA1, *remse)
    return (solver.BASE_LR, solver.GAMMA, *loss, cfg.SEED, cfg.TEST.GAMMA, model.ATTENTION.RATIO)


def test_published_settings_are_those_of_the_design():
    """LR, LR factor, HID_DIM, SCALE, LAMBDA1, P, P2, statistics, seed, TEST.GAMMA and RATIO."""
    expected = {
        "cub_16w_2s_AttentionNet.yaml": (5e-4, 0.1, 0, 20, 0.25, 0.1, 0.75, "in_batch", 214, 0.7, 1),
        "sun_16w_2s_AttentionNet.yaml": (5e-4, 0.5, 0, 25, 0.1, 0.1, 0.0, "in_batch", 214, 0.7, 1),
        "awa_16w_2s_AttentionNet.yaml": (1e-4, 0.5, 4096, 20, 1.0, 1.0, 0.1, "in_batch", 1514, 3.5, 1),
        "cub_16w_2s_AttentionNet_VIT.yaml": (5e-4, 0.1, 0, 20, 0.1, 0.0, 0.0, "in_batch", 214, 0.7, 1),
        "sun_16w_2s_AttentionNet_VIT.yaml": (5e-4, 0.5, 0, 25, 0.1, 0.0, 0.0, "in_batch", 214, 0.7, 1),
        "awa_16w_2s_AttentionNet_VIT.yaml": (1e-4, 0.5, 4096, 20, 0.1, 0.0, 0.0, "in_batch", 1514, 0.7, 1),
        "2023/cub_16w_2s_AttentionNet.yaml": (5e-4, 0.1, 0, 20, 0.1, 0.75, 0.0, "cross_batch", 214, 0.7, 1),
        "2023/sun_16w_2s_AttentionNet.yaml": (5e-4, 0.5, 0, 25, 1.0, 1.25, 0.0, "in_batch", 214, 0.7, 1),
        "2023/awa_16w_2s_AttentionNet.yaml": (5e-5, 0.5, 4096, 20, 1.0, 1.0, 0.0, "in_batch", 214, 3.5, 0.125),
    }
    assert {file: settings_of(file) for file in expected} == expected


@pytest.mark.parametrize("stem", ["cub_16w_2s", "sun_16w_2s", "awa_16w_2s"])
def test_vit_files_have_the_published_vit(stem):
    backbone = load_config(REPOSITORY / "config" / "AttentionNet" / f"{stem}_AttentionNet_VIT.yaml").MODEL.BACKBONE
    assert (backbone.TYPE, backbone.NAME) == ("timm", "vit_base_patch16_224.augreg_in21k_ft_in1k")
    assert (backbone.MEAN, backbone.STD) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.mark.parametrize("stem", ["cub_4w_2s", "sun_4w_2s", "awa_4w_2s"])
def test_gem_files_regress_as_their_header_says(stem):
    file = REPOSITORY / "config" / "GEMNet" / f"{stem}_GEMNet.yaml"
    cfg = load_config(file)
    assert (cfg.MODEL.GEM.REGRESSION, cfg.MODEL.LOSS.REG_NORM) == ("gaze", False)
    assert (cfg.DATASETS.SEMANTIC, cfg.SOLVER.STEP_OFFSET) == ("normalized", 1)
    (other,) = (line for line in file.read_text().splitlines() if "as in the published ReZSL code" in line)
    overrides = other.removeprefix("# With ").split(":")[0].split()
    cfg = load_config(file, overrides)
    assert (cfg.MODEL.GEM.REGRESSION, cfg.MODEL.LOSS.REG_NORM, cfg.DATASETS.SEMANTIC) == ("output", True, "original")


@pytest.mark.parametrize("file", FILES, ids=lambda file: "-".join(file.parts[-2:]))
def test_the_header_has_the_files_own_command_and_the_expected_result(file):
    header = [line for line in file.read_text().splitlines() if line.startswith("# ")]
    words = header[0].split()
    assert words[:5] == ["#", "python", "tools/train.py", "--config-file", str(file.relative_to(REPOSITORY))]
    assert any(line.startswith("# Expected: ") for line in header)
    if "published" in "".join(header) and "BasicNet" not in str(file):  # the published ones kept the best test epoch
        assert words[5:] == ["TEST.SELECT", "oracle"]
        assert load_config(file, words[5:]).TEST.SELECT == "oracle"

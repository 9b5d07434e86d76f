"""Every experiment file builds its model and, given data in the real formats, trains one step."""

import pytest
import torch
from stand_ins import REPOSITORY, TinyData

from REZSL.config import load_config
from REZSL.data import build_data
from REZSL.modeling import build_modeling
from REZSL.solver import build_solver

ATTRIBUTES = {"CUB": 312, "SUN": 102, "AWA2": 85, "DEMO": 24}
FILES = sorted((REPOSITORY / "config").glob("*/*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_experiment_trains_one_step(file, tmp_path, monkeypatch):
    name = load_config(file).DATASETS.NAME
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


def test_published_settings_are_those_of_the_design():
    """LR, LR factor, HID_DIM, SCALE, LAMBDA1, P, P2, seed and TEST.GAMMA of the six AttentionNet files."""
    expected = {
        "cub_16w_2s_AttentionNet": (5e-4, 0.1, 0, 20, 0.25, 0.1, 0.75, 214, 0.7),
        "sun_16w_2s_AttentionNet": (5e-4, 0.5, 0, 25, 0.1, 0.1, 0.0, 214, 0.7),
        "awa_16w_2s_AttentionNet": (1e-4, 0.5, 4096, 20, 1.0, 1.0, 0.1, 1514, 3.5),
        "cub_16w_2s_AttentionNet_VIT": (5e-4, 0.1, 0, 20, 0.1, 0.0, 0.0, 214, 0.7),
        "sun_16w_2s_AttentionNet_VIT": (5e-4, 0.5, 0, 25, 0.1, 0.0, 0.0, 214, 0.7),
        "awa_16w_2s_AttentionNet_VIT": (1e-4, 0.5, 4096, 20, 0.1, 0.0, 0.0, 1514, 0.7),
    }
    for stem, values in expected.items():
        cfg = load_config(REPOSITORY / "config" / "AttentionNet" / f"{stem}.yaml")
        model, solver = cfg.MODEL, cfg.SOLVER
        remse = (model.REZSL.P, model.REZSL.P2)
        found = (solver.BASE_LR, solver.GAMMA, model.HID_DIM, model.SCALE, model.LOSS.LAMBDA1, *remse)
        assert (*found, cfg.SEED, cfg.TEST.GAMMA) == values, stem
        batch = (cfg.DATASETS.WAYS, cfg.DATASETS.SHOTS, cfg.DATALOADER.N_BATCH, solver.MAX_EPOCH, solver.STEPS)
        assert batch == (16, 2, 300, 30, 10), stem

"""From a configuration to model and criterion."""

from pathlib import Path

import numpy as np
import pytest
import torch

from REZSL.config import load_config
from REZSL.data.attribute_groups import attribute_groups
from REZSL.modeling import (
    AttentionNet,
    BasicNet,
    FocalRLoss,
    GEMNet,
    LDSLoss,
    build_modeling,
    weighted_RegressLoss,
)
from REZSL.solver import build_solver
from REZSL.utils.errors import ConfigError, DataError

C, K, E, D = 3, 6, 5, 8
FEATURES = ["DATASETS.INPUT", "features", "MODEL.BACKBONE.TYPE", "features"]
CONFIGS = sorted((Path(__file__).resolve().parents[2] / "config").rglob("*.yaml"))


def build(*overrides, embeddings=True, labels=None):
    cfg = load_config(None, [*FEATURES, *overrides])
    rng = np.random.default_rng(0)
    signatures = rng.uniform(size=(C, K)).astype(np.float32)
    words = rng.normal(size=(K, E)).astype(np.float32) if embeddings else None
    return cfg, *build_modeling(cfg, signatures, K, words, [[0, 1], [2, 3, 4, 5]], D, labels)


def in_optimizer(cfg, model, criterion):
    optimizer, _ = build_solver(cfg, model, criterion, 2)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    assert len({id(p) for p in parameters}) == len(parameters)
    return {id(p) for p in parameters}


@pytest.mark.parametrize(
    ("head", "overrides", "kind", "terms"),
    [
        ("BasicNet", [], BasicNet, {"ce", "regression"}),
        ("BasicNet", ["MODEL.HID_DIM", "7"], BasicNet, {"ce", "regression"}),
        ("AttentionNet", ["MODEL.LOSS.LAMBDA1", "0"], AttentionNet, {"ce"}),
        ("AttentionNet", ["MODEL.ATTENTION.MODE", "concat", "MODEL.HID_DIM", "7"], AttentionNet, {"ce", "regression"}),
        ("GEMNet", ["MODEL.LOSS.LAMBDA2", "0.1", "MODEL.LOSS.LAMBDA3", "0.2"], GEMNet,
         {"ce", "regression", "ad", "cpt"}),
    ],
)  # fmt: skip
def test_every_head_trains_from_a_config(head, overrides, kind, terms):
    cfg, model, criterion = build("MODEL.META_ARCHITECTURE", head, "MODEL.ATTENTION.CHANNEL", "4", *overrides)
    assert type(model.head) is kind
    losses = criterion(model(torch.randn(4, D)), torch.tensor([0, 1, 2, 0]))
    assert set(losses) == terms
    criterion.total(losses).backward()
    wanted = {id(p) for p in [*model.parameters(), *criterion.parameters()]}
    assert in_optimizer(cfg, model, criterion) == wanted
    assert all(p.grad is not None for p in model.parameters())


def test_the_configs_numbers_reach_the_parts():
    _, model, criterion = build(
        "MODEL.META_ARCHITECTURE", "AttentionNet", "MODEL.ATTENTION.CHANNEL", "4", "MODEL.HID_DIM", "7",
        "MODEL.SCALE", "25", "MODEL.LOSS.LAMBDA1", "0.25", "MODEL.REZSL.USE", "True", "MODEL.REZSL.P", "0.5",
        "MODEL.REZSL.P2", "0.75", "MODEL.REZSL.WEIGHT_TYPE", "cross_batch", "MODEL.LOSS.REG_TYPE", "MAE",
        "MODEL.LOSS.REG_NORM", "False",
    )  # fmt: skip
    statistics = criterion.regression.statistics
    assert (statistics.p, statistics.p2, statistics.WeightType) == (0.5, 0.75, "cross_batch")
    assert (statistics.RegType, statistics.RegNorm) == ("MAE", False)
    assert (criterion.regression.regression.RegType, criterion.regression.regression.RegNorm) == ("MAE", False)
    assert (model.head.query.out_features, model.head.hidden.out_features) == (4, 7)
    assert model.scale == criterion.scale == 25
    assert criterion.weights == {"ce": 1, "regression": 0.25, "ad": 0, "cpt": 0}
    assert criterion.signatures.shape == statistics.weights.shape == (C, K)


@pytest.mark.parametrize("use", [True, False])
def test_exponents_count_only_where_remse_is_used(use):
    _, model, criterion = build("MODEL.REZSL.USE", str(use), "MODEL.REZSL.P", "1.0", "MODEL.REZSL.P2", "1.0")
    labels = torch.tensor([0, 1, 2, 0])
    attributes = model(torch.randn(4, D)).attributes
    plain = weighted_RegressLoss(True)(attributes, criterion.signatures[labels])
    assert torch.equal(criterion.regression(attributes, criterion.signatures[labels], labels), plain) != use


def test_the_sigma_of_bmc_is_trained():
    cfg, model, criterion = build("MODEL.LOSS.REG_TYPE", "BMC")
    (sigma,) = criterion.parameters()
    assert id(sigma) in in_optimizer(cfg, model, criterion)
    criterion.total(criterion(model(torch.randn(4, D)), torch.tensor([0, 1, 2, 0]))).backward()
    assert sigma.grad != 0


@pytest.mark.parametrize("head", ["AttentionNet", "GEMNet"])
def test_learned_embeddings_are_trained(head):
    cfg, model, criterion = build("MODEL.META_ARCHITECTURE", head, "MODEL.LOSS.LAMBDA2", "0.1" if head == "GEMNet"
                                  else "0", embeddings=False)  # fmt: skip
    embeddings = model.head.attribute_embeddings
    assert id(embeddings) in in_optimizer(cfg, model, criterion)
    tokens = torch.randn(4, 3, D)  # with one token a softmax would pass no gradient on
    criterion.total(criterion(model(tokens), torch.tensor([0, 1, 2, 0]))).backward()
    assert embeddings.grad.abs().sum() > 0
    assert 0.1 < embeddings.std() < 0.4  # spread as word vectors are


def test_given_embeddings_stay_as_they_are():
    cfg, model, criterion = build("MODEL.META_ARCHITECTURE", "AttentionNet")
    assert not model.head.attribute_embeddings.requires_grad
    assert id(model.head.attribute_embeddings) not in in_optimizer(cfg, model, criterion)


def test_the_ratio_of_the_attended_token_is_the_configs():
    _, model, _ = build("MODEL.META_ARCHITECTURE", "AttentionNet", "MODEL.ATTENTION.RATIO", "0.125")
    assert model.head.ratio == 0.125


@pytest.mark.parametrize("what", ["gaze", "output"])
def test_the_config_says_what_gemnet_regresses(what):
    _, model, criterion = build("MODEL.META_ARCHITECTURE", "GEMNet", "MODEL.GEM.REGRESSION", what)
    terms = criterion(model(torch.randn(4, 3, D)), torch.tensor([0, 1, 2, 0]))
    gaze = torch.autograd.grad(terms["regression"], model.head.gaze, allow_unused=True)[0]
    assert (gaze is not None) == (what == "gaze")


def test_the_class_token_of_a_vit_is_no_gaze_position():
    cfg = load_config(None, ["MODEL.META_ARCHITECTURE", "GEMNet", "MODEL.BACKBONE.TYPE", "vit",
                             "DATASETS.IMAGE_SIZE", "32", "MODEL.BACKBONE.PRETRAINED", "False"])  # fmt: skip
    with torch.device("meta"):
        model, criterion = build_modeling(cfg, np.ones((C, K), np.float32), K)
        output = model(torch.zeros(2, 3, 32, 32))
    assert output.attention.shape == (2, K, 4)
    assert criterion.grid == (2, 2)


def test_weights_that_a_checkpoint_replaces_are_not_downloaded(monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("downloads"))
    cfg = load_config(None, ["MODEL.WEIGHT", "best.pth", "MODEL.BACKBONE.NAME", "resnet18"])
    build_modeling(cfg, np.ones((C, K), np.float32), K)


def test_a_frozen_backbone_is_not_in_the_optimizer():
    overrides = ["MODEL.BACKBONE.NAME", "resnet18", "MODEL.BACKBONE.PRETRAINED", "False"]
    cfg = load_config(None, [*overrides, "MODEL.BACKBONE.FINETUNE", "False"])
    with torch.device("meta"):
        model, criterion = build_modeling(cfg, np.ones((C, K), np.float32), K)
    assert in_optimizer(cfg, model, criterion) == {id(p) for p in model.head.parameters()}


def test_backbone_weights_come_from_the_config(tmp_path):
    cfg = load_config(None, ["MODEL.BACKBONE.WEIGHTS", str(tmp_path / "nowhere.pth")])
    with pytest.raises(DataError, match=r"nowhere.pth is missing"):
        build_modeling(cfg, np.ones((C, K), np.float32), K)


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_published_experiments_build(path):
    """Every file under config/: sizes of its data set, parameters without memory."""
    cfg = load_config(path, ["MODEL.BACKBONE.PRETRAINED", "False", "MODEL.BACKBONE.WEIGHTS", ""])
    if cfg.MODEL.BACKBONE.TYPE == "timm":
        pytest.importorskip("timm")
    name, size = cfg.DATASETS.NAME, cfg.DATASETS.IMAGE_SIZE
    num_attributes = {"CUB": 312, "SUN": 102, "AWA2": 85}.get(name, 20)
    words = np.zeros((num_attributes, 300), np.float32) if cfg.MODEL.ATTENTION.EMBEDDING == "w2v" else None
    groups = cfg.DATASETS.ATTRIBUTE_GROUPS
    groups = attribute_groups(name, num_attributes, groups) if cfg.MODEL.LOSS.LAMBDA2 else None
    with torch.device("meta"):
        feature_dim = 2048 if cfg.DATASETS.INPUT == "features" else None
        model, criterion = build_modeling(
            cfg, np.ones((C, num_attributes), np.float32), num_attributes, words, groups, feature_dim
        )
        output = model.to("meta")(torch.zeros((2, feature_dim) if feature_dim else (2, 3, size, size)))
    assert output.attributes.shape == (2, num_attributes)
    trainable = {id(p) for p in [*model.parameters(), *criterion.parameters()] if p.requires_grad}
    assert in_optimizer(cfg, model, criterion) == trainable


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", ["MSE", "RMSE", "MAE"])
@pytest.mark.parametrize("name", ["focal_r", "lds"])
def test_other_weights_are_chosen_by_config(name, kind, norm):
    _, model, criterion = build(
        "MODEL.LOSS.REWEIGHT", name, "MODEL.LOSS.REG_TYPE", kind, "MODEL.LOSS.REG_NORM", str(norm)
    )
    pred, labels = model(torch.randn(4, D)).attributes, torch.tensor([0, 1, 2, 0])
    target = criterion.signatures[labels]
    own = {"focal_r": FocalRLoss(kind, norm), "lds": LDSLoss(criterion.signatures, kind, norm)}[name]
    assert type(criterion.regression) is type(own)
    assert torch.equal(criterion.regression(pred, target, labels), own(pred, target))


@pytest.mark.parametrize("reweight", ["sqrt_inv", "inverse"])
def test_lds_counts_the_training_images_of_each_class(reweight):
    labels = np.array([0, 2, 2, 2, 2, 2, 2])
    _, _, criterion = build("MODEL.LOSS.REWEIGHT", "lds", "MODEL.LOSS.LDS_REWEIGHT", reweight, labels=labels)
    own = LDSLoss(criterion.signatures[labels], reg_norm=True, reweight=reweight)
    pred, target = torch.rand(7, K), criterion.signatures[labels]
    torch.testing.assert_close(criterion.regression(pred, target), own(pred, target))
    _, _, even = build("MODEL.LOSS.REWEIGHT", "lds", "MODEL.LOSS.LDS_REWEIGHT", reweight)
    assert (criterion.regression(pred, target) - even.regression(pred, target)).abs() > 1e-3


@pytest.mark.parametrize("reweight", ["none", "focal_r", "lds"])
def test_one_attribute_is_refused_where_it_would_be_normalised(reweight):
    for norm in ("True", "False"):
        cfg = load_config(None, [*FEATURES, "MODEL.LOSS.REWEIGHT", reweight, "MODEL.LOSS.REG_NORM", norm])
        arguments = (cfg, np.random.default_rng(0).random((C, 1), np.float32), 1, None, None, D)
        if norm == "False":
            build_modeling(*arguments)
        else:
            with pytest.raises(ConfigError, match=r"MODEL\.LOSS\.REG_NORM is True, but a single attribute is 1 or -1"):
                build_modeling(*arguments)

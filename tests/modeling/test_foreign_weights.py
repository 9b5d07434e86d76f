"""Weights as other libraries and training tools write them: the names are theirs, the tensors small."""

import argparse
import logging
from functools import cache

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from REZSL.modeling import build_backbone
from REZSL.modeling.foreign_weights import named_as
from REZSL.utils.errors import ConfigError, DataError

timm = pytest.importorskip("timm")
VIT = "vit_tiny_patch16_224"


@pytest.fixture
def save(tmp_path):
    def write(content, name="weights.pth"):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return write


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "REZSL")
    return lambda: [record.getMessage() for record in caplog.records]


def state_of(network, value=0.5):
    """A state_dict of the network's names and shapes, of one value: small on disk."""
    return {name: torch.full((), value, dtype=t.dtype).expand(t.shape) for name, t in network.state_dict().items()}


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def renamed(state, *pairs):
    for old, new in pairs:
        state = {name.replace(old, new): value for name, value in state.items()}
    return state


@cache
def resnet(name="resnet18", value=0.5):
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    return state_of(network, value)


@cache
def of_timm(name=VIT, value=0.5):
    with torch.device("meta"):
        network = timm.create_model(name)
    return state_of(network, value)


def vit_of_torchvision(width=8, patch=16):
    return state_of(
        torchvision.models.VisionTransformer(32, patch, num_layers=2, num_heads=2, hidden_dim=width, mlp_dim=16)
    )


def vit_of_transformers(width=192, patch=16):
    return under(
        "vit.",
        {
            "embeddings.cls_token": torch.zeros(1, 1, width),
            "embeddings.position_embeddings": torch.zeros(1, 197, width),
            "embeddings.patch_embeddings.projection.weight": torch.zeros(width, 3, patch, patch),
            "encoder.layer.0.attention.attention.query.weight": torch.zeros(width, width),
            "encoder.layer.0.output.dense.weight": torch.zeros(width, 4 * width),
            "layernorm.weight": torch.zeros(width),
        },
    )


def resnet_of_transformers():
    stem = {"embedder.embedder.convolution.weight": torch.zeros(64, 3, 7, 7)}
    return under(
        "resnet.", stem | {"encoder.stages.0.layers.0.shortcut.convolution.weight": torch.zeros(256, 64, 1, 1)}
    )


def assert_all(backbone, value):
    """Every tensor of the network is ``value``, but for those that a file of its library has not."""
    for name, tensor in backbone.network.state_dict().items():
        expected = torch.full_like(tensor, value)
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6, msg=name)


def refusal(*args, **options):
    with pytest.raises(DataError) as caught:
        build_backbone(*args, **options)
    said = str(caught.value)
    assert said.startswith("MODEL.BACKBONE.WEIGHTS: ") and len(said.splitlines()) == 1 and len(said) < 500
    return said


# ---- what training tools write


def dino(student, teacher):
    head = {"head.mlp.0.weight": torch.zeros(2, 2), "head.last_layer.weight_v": torch.zeros(3, 2)}
    return {
        "student": under("module.", {**under("backbone.", student), **head}),
        "teacher": {**under("backbone.", teacher), **head},
        "optimizer": {"state": {0: {"momentum": torch.zeros(1)}}, "param_groups": []},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_tiny", lr=0.1),
        "dino_loss": {"center": torch.zeros(1, 3)},
    }


def moco(query, key):
    return {
        "epoch": 200,
        "arch": "resnet18",
        "state_dict": {
            **under("module.encoder_k.", key),
            **under("module.encoder_q.", query),
            "module.encoder_q.fc.2.weight": torch.zeros(128, 512),
            "module.queue": torch.zeros(128, 16),
            "module.queue_ptr": torch.zeros(1, dtype=torch.int64),
        },
    }


def lightning(state):
    return {
        "epoch": 9,
        "pytorch-lightning_version": "2.0",
        "state_dict": {**under("model.backbone.", state), "model.projection_head.0.weight": torch.zeros(2, 2)},
        "hyper_parameters": {"lr": np.float64(0.1)},
    }


def mae(state):
    decoder = {
        "mask_token": torch.zeros(1, 1, 64),
        "decoder_pos_embed": torch.zeros(1, 197, 64),
        "decoder_embed.weight": torch.zeros(64, 192),
        "decoder_blocks.0.attn.qkv.weight": torch.zeros(192, 64),
        "decoder_norm.weight": torch.zeros(64),
        "decoder_pred.weight": torch.zeros(768, 64),
    }
    encoder = {name: value for name, value in state.items() if not name.startswith("head.")}
    return {"model": {**encoder, **decoder}, "args": argparse.Namespace(model="mae"), "scaler": {"scale": 1.0}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda: moco(resnet(), resnet(value=0.1)), "taken the tensors under 'encoder_q.', without"),
        (
            lambda: lightning(resnet()),
            "taken the tensors under 'backbone.', without 1 others, e.g. projection_head.0.weight",
        ),
        (lambda: {"state_dict": under("module.module.", resnet())}, "names without 'module.module.'"),
        (lambda: {"online": under("online_encoder.", resnet()), "n": 1}, "names without 'online_encoder.'"),
        (
            lambda: under("online_encoder.", resnet()) | under("target_encoder.", resnet(value=0.1)),
            "under 'online_encoder.'",
        ),
        (
            lambda: under("module.base_encoder.", resnet()) | under("module.momentum_encoder.", resnet(value=0)),
            "base_encoder.",
        ),
        (
            lambda: {"model": under("_orig_mod.", resnet(value=0.1)), "model_ema": resnet()},
            "its 'model_ema' (beside it: model)",
        ),
        (lambda: {"net": under("a.b.c.", resnet())}, "names without 'a.b.c.'"),
        (
            lambda: {"model": under("backbone.network.", resnet()) | {"head.regressor": torch.ones(3)}},
            "without 1 others",
        ),
    ],
)
def test_a_resnet_out_of_what_training_tools_write(save, lines, content, told):
    assert_all(build_backbone("resnet", "resnet18", 32, weights=save(content())), 0.5)
    assert any(told in line for line in lines()), lines()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            lambda: dino(of_timm(value=0.1), of_timm()),
            ["its 'teacher' (beside it: student)", "under 'backbone.', without"],
        ),
        (lambda: mae(of_timm()), ["taken the network's tensors, without 6 others, e.g. mask_token"]),
    ],
    ids=["DINO", "MAE"],
)
def test_a_vit_out_of_self_supervised_training(save, lines, content, told):
    backbone = build_backbone("timm", VIT, 224, weights=save(content()))
    assert_all(backbone, 0.5)
    for words in told:
        assert any(words in line for line in lines()), lines()


def test_the_names_decide_where_prefixes_nest():
    """``norm.weight`` is a name of its own and the end of others: most names decide."""
    network = nn.ModuleDict({"norm": nn.LayerNorm(2), "block": nn.ModuleDict({"norm": nn.LayerNorm(2)})})
    state = state_of(network)
    assert list(named_as(network, under("x.", state), "a")) == list(state)
    assert list(named_as(network, state, "a")) == list(state)
    assert list(named_as(network, {"x.other": torch.ones(1)}, "a")) == ["x.other"]


def test_the_same_names_in_both_libraries_load_either_way(save):
    path = save(of_timm("resnet18"))
    assert_all(build_backbone("resnet", "resnet18", 32, weights=path), 0.5)
    path = save(resnet())
    assert_all(build_backbone("timm", "timm/resnet18.a1_in1k", 32, weights=path), 0.5)


def test_a_safetensors_file_is_weights_too(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    state = {name: value.contiguous() for name, value in resnet().items()}
    library.save_file(state, str(tmp_path / "model.safetensors"))
    backbone = build_backbone("resnet", "resnet18", 32, weights=str(tmp_path / "model.safetensors"))
    assert_all(backbone, 0.5)


# ---- weights of another network: which TYPE reads them


@pytest.mark.parametrize(
    ("kind", "name", "content", "said"),
    [
        (
            "vit",
            "",
            lambda: of_timm(),
            f"it holds a ViT in timm's names, 192 wide with patches of 16: set MODEL.BACKBONE.TYPE timm and NAME {VIT}",
        ),
        ("resnet", "resnet18", lambda: under("module.", of_timm()), f"set MODEL.BACKBONE.TYPE timm and NAME {VIT}"),
        ("timm", "vit_small_patch16_224", lambda: of_timm(), f"set MODEL.BACKBONE.NAME {VIT}"),
        (
            "timm",
            VIT,
            lambda: vit_of_torchvision(768),
            "a ViT of torchvision, 768 wide with patches of 16: set MODEL.BACKBONE.TYPE vit and NAME vit_b_16",
        ),
        ("timm", VIT, lambda: vit_of_torchvision(8), "which no TYPE reads: take timm's copy of it"),
        (
            "vit",
            "",
            lambda: vit_of_transformers(),
            f"transformers, whose names no TYPE reads: take TYPE timm, NAME {VIT}",
        ),
        (
            "timm",
            VIT,
            lambda: vit_of_transformers(),
            f"transformers, whose names no TYPE reads: take TYPE timm, NAME {VIT}",
        ),
        ("resnet", "resnet50", lambda: resnet_of_transformers(), "a ResNet of transformers, whose names no TYPE reads"),
        ("resnet", "resnet34", lambda: resnet(), "it holds a resnet18: set MODEL.BACKBONE.NAME resnet18"),
        ("resnet", "resnet101", lambda: under("module.", resnet("resnet50")), "set MODEL.BACKBONE.NAME resnet50"),
        (
            "resnet",
            "resnet50",
            lambda: resnet("wide_resnet50_2"),
            "a kind of ResNet with 3-4-6-3 blocks: TYPE timm may",
        ),
        (
            "vit",
            "vit_b_16",
            lambda: resnet("resnet152"),
            "a resnet152: set MODEL.BACKBONE.TYPE resnet and NAME resnet152",
        ),
        ("resnet", "resnet18", lambda: resnet("vgg11"), "a network of torchvision that no TYPE reads"),
        (
            "resnet",
            "resnet18",
            lambda: of_timm("tf_efficientnet_lite0"),
            "an EfficientNet or MobileNet of timm: set TYPE",
        ),
        (
            "resnet",
            "resnet18",
            lambda: of_timm("swin_tiny_patch4_window7_224"),
            "a transformer in timm's names: set TYPE",
        ),
        (
            "resnet",
            "resnet18",
            lambda: under("bert.", {"embeddings.word_embeddings.weight": torch.ones(9, 2)}),
            "a language",
        ),
        (
            "resnet",
            "resnet18",
            lambda: {"visual.conv1.weight": torch.ones(2, 3, 4, 4)},
            "a CLIP model: take timm's copy",
        ),
        ("timm", VIT, lambda: {"backbone.a": torch.ones(1), "v2s_branch.W": torch.ones(1)}, "name it by MODEL.WEIGHT"),
        (
            "timm",
            VIT,
            lambda: renamed(of_timm(), ("blocks.11", "blocks.12")),
            "another model? It looks like a ViT in timm's",
        ),
        ("resnet", "resnet18", lambda: {f"layer{n}.w": torch.ones(1) for n in range(2000)}, "another model?"),
    ],
    ids=range(20),
)
def test_weights_of_another_network_say_which_type_reads_them(save, kind, name, content, said):
    path = save(content())
    with torch.device("meta"):
        told = refusal(kind, name, 224, weights=path)
    assert said in told


def test_mae_tuned_with_global_pooling_is_told(save):
    state = {("fc_" + name if name.startswith("norm.") else name): value for name, value in of_timm().items()}
    said = refusal("timm", VIT, 224, weights=save({"model": state}))
    assert "lacks 2 tensors, e.g. norm.bias" in said or "has unknown" in said
    assert "tuned with mean pooling (MAE's global pool: fc_norm, no norm): take one that is not" in said


def test_what_timm_stumbles_over_is_told(save, monkeypatch):
    def stumble(state, network):
        raise KeyError("x" * 9999)

    monkeypatch.setattr(timm.models.vision_transformer, "checkpoint_filter_fn", stumble)
    said = refusal("timm", VIT, 224, weights=save(of_timm()))
    assert f"timm cannot adapt its tensors to {VIT} (KeyError): another model? It looks like a ViT" in said


def test_what_is_no_weights_file_is_told_with_the_key(tmp_path):
    path = tmp_path / "resnet18.pth"
    path.write_text("<!doctype html><title>404</title>")
    assert refusal("resnet", "resnet18", weights=str(path)).startswith(
        f"MODEL.BACKBONE.WEIGHTS: {path} is a web page: the download gave it in place of the file"
    )


# ---- names of timm's


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("timm/resnet18", "resnet18"),
        ("timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("hf_hub:timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("hf-hub:timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
        ("hf-hub:someone/network", "hf-hub:someone/network"),
        ("hf_hub:someone/network", "hf_hub:someone/network"),
    ],
)
def test_names_as_timm_and_its_hub_know_them(monkeypatch, name, asked):
    names = []

    def create_model(name, **options):
        names.append(name)
        return build("resnet18", num_classes=0)

    build = timm.create_model
    monkeypatch.setattr(timm, "create_model", create_model)
    assert build_backbone("timm", name, 32).dim == 512
    assert names == [asked]


def test_a_hub_that_cannot_be_reached_and_unknown_tags_are_told(monkeypatch):
    def create_model(name, **options):
        raise OSError("no network\n" * 99)

    with pytest.raises(ConfigError, match=r"'resnet18.nobodys': timm has no such weights; did you mean 'resnet18\."):
        build_backbone("timm", "resnet18.nobodys", 32)
    with pytest.raises(ConfigError, match="NAME is 'timm/resnet19', unknown to timm; did you mean 'resnet1"):
        build_backbone("timm", "timm/resnet19", 32)
    with pytest.raises(ConfigError, match="NAME is 'local-dir:/x', unknown to timm"):
        build_backbone("timm", "local-dir:/x", 32)
    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(ConfigError, match=r"cannot download hf-hub:a/b \(OSError\)"):
        build_backbone("timm", "hf-hub:a/b", 32)

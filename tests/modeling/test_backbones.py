"""Backbones against torchvision's and timm's own forward passes; weights files, good and bad."""

import copy
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn

from REZSL.modeling import build_backbone
from REZSL.modeling.backbones import VisionTransformer
from REZSL.utils.errors import ConfigError, DataError

IMAGENET_MEAN, IMAGENET_STD = (torch.tensor(x).view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def tiny_vit(image_size):
    return torchvision.models.VisionTransformer(image_size, 16, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16)


def constant_state(network, skip="nothing"):
    """A state_dict of the network's shapes, every tensor of one value of its own: small on disk, easy to recognise."""
    return {
        key: torch.full((), i + 1, dtype=value.dtype).expand(value.shape)
        for i, (key, value) in enumerate(network.state_dict().items())
        if skip not in key
    }


def assert_loaded(backbone, state, but):
    own = backbone.network.state_dict()
    for key, value in state.items():
        if not key.startswith(but):
            torch.testing.assert_close(own[key], value.flatten()[0].expand(own[key].shape).to(own[key]), msg=key)


@pytest.fixture
def save(tmp_path):
    def write(content, name="weights.pth"):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return write


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "dim", "size"), [("resnet18", 512, 32), ("resnet18", 512, 40), ("resnet50", 2048, 64)]
)
def test_resnet_tokens_are_torchvisions_last_feature_map(name, dim, size):
    backbone = build_backbone("resnet", name, size).double().eval()
    reference = torchvision.models.get_model(name).double().eval()
    reference.load_state_dict(backbone.network.state_dict(), strict=False)
    reference.fc = nn.Identity()
    seen = {}
    reference.avgpool.register_forward_hook(lambda _, inputs, output: seen.update(map=inputs[0]))
    images = torch.rand(2, 3, size, size).double()
    pooled = reference((images - IMAGENET_MEAN) / IMAGENET_STD)

    tokens = backbone(images)
    height, width = backbone.grid
    assert backbone.dim == dim and backbone.num_prefix == 0
    assert tokens.shape == (2, height * width, dim)
    torch.testing.assert_close(tokens.mean(1), pooled)
    for n in range(height * width):
        torch.testing.assert_close(tokens[:, n], seen["map"][:, :, n // width, n % width])


@torch.no_grad()
def test_vit_tokens_are_torchvisions_with_the_class_token_first():
    reference = tiny_vit(32).eval()
    reference.heads = nn.Identity()
    backbone = VisionTransformer(copy.deepcopy(reference)).eval()
    seen = {}
    reference.encoder.register_forward_hook(lambda _, inputs, output: seen.update(tokens=output))
    images = torch.rand(3, 3, 32, 32)
    representation = reference((images - IMAGENET_MEAN) / IMAGENET_STD)
    tokens = backbone(images)
    torch.testing.assert_close(tokens[:, 0], representation)
    torch.testing.assert_close(tokens, seen["tokens"])
    assert (backbone.grid, backbone.num_prefix, backbone.dim) == ((2, 2), 1, 8)


@pytest.mark.parametrize(
    ("kind", "size", "shape"),
    [("resnet", 448, (196, 2048)), ("vit", 224, (197, 768))],
)
def test_published_backbones_give_the_published_tokens(kind, size, shape):
    with torch.device("meta"):
        backbone = build_backbone(kind, image_size=size)
        tokens = backbone(torch.zeros(2, 3, size, size))
    assert tokens.shape == (2, *shape)
    assert backbone.num_prefix + backbone.grid[0] * backbone.grid[1] == shape[0]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pixels_are_normalised_by_the_given_mean_and_std(dtype):
    torch.manual_seed(3)
    plain = build_backbone("resnet", "resnet18", 32).eval()
    given = build_backbone("resnet", "resnet18", 32, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 1]).eval()
    given.load_state_dict(plain.state_dict())
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    normalised = (images / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.25, 1]).view(
        3, 1, 1
    )
    tokens = given(images if dtype == torch.uint8 else images / 255)
    torch.testing.assert_close(tokens, plain(normalised * IMAGENET_STD + IMAGENET_MEAN), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_timm_vit_tokens_are_the_published_ones():
    """The class token and the patches after the last norm, of pixels normalised by ImageNet's mean and std."""
    pytest.importorskip("timm")
    mean, std = (x.flatten().tolist() for x in (IMAGENET_MEAN, IMAGENET_STD))
    backbone = build_backbone("timm", "vit_tiny_patch16_224", 32, mean=mean, std=std).eval()
    images, vit = torch.rand(2, 3, 32, 32), backbone.network
    x = vit.patch_embed((images - IMAGENET_MEAN) / IMAGENET_STD)
    x = torch.cat([vit.cls_token.expand(2, -1, -1), x], 1) + vit.pos_embed
    for block in vit.blocks:
        x = block(x)
    torch.testing.assert_close(backbone(images), vit.norm(x), rtol=1e-5, atol=1e-5)
    assert (backbone.num_prefix, backbone.grid) == (1, (2, 2))


def test_features_become_tokens():
    backbone = build_backbone("features", feature_dim=5)
    features = torch.rand(3, 5)
    assert torch.equal(backbone(features), features.view(3, 1, 5))
    assert backbone(torch.rand(3, 7, 5)).shape == (3, 7, 5)
    assert (backbone.dim, backbone.grid, backbone.num_prefix) == (5, (1, 1), 0)


@torch.no_grad()
def test_uint8_images_are_the_same_as_float_ones():
    backbone = build_backbone("resnet", "resnet18", 32).eval()
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(backbone(images), backbone(images.float() / 255), rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "order", "num_prefix"),
    [
        ("tf_efficientnet_lite0", "channels first", 0),
        ("vit_tiny_patch16_224", "tokens", 1),
        ("swin_tiny_patch4_window7_224", "channels last", 0),
    ],
)
def test_timm_tokens_are_timms_features_of_images_normalised_its_way(name, order, num_prefix):
    timm = pytest.importorskip("timm")
    backbone = build_backbone("timm", name, 64).eval()
    config = timm.get_pretrained_cfg(name)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (config.mean, config.std))
    images = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    features = backbone.network.forward_features((images / 255 - mean) / std)

    tokens = backbone(images)
    height, width = backbone.grid
    assert backbone.num_prefix == num_prefix
    assert tokens.shape == (1, num_prefix + height * width, backbone.dim)
    torch.testing.assert_close(tokens, backbone(images / 255), rtol=1e-4, atol=1e-4)
    if order == "tokens":
        torch.testing.assert_close(tokens, features)
        return
    for n in range(height * width):
        h, w = n // width, n % width
        expected = features[:, :, h, w] if order == "channels first" else features[:, h, w]
        torch.testing.assert_close(tokens[:, n], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "volo_d1_224"])
def test_any_timm_model_says_how_many_of_its_tokens_come_before_the_grids(name):
    timm = pytest.importorskip("timm")
    size = timm.get_pretrained_cfg(name).input_size[-1]
    with torch.device("meta"):
        backbone = build_backbone("timm", name, size)
        tokens = backbone(torch.zeros(2, 3, size, size))
    assert tokens.shape == (2, backbone.num_prefix + backbone.grid[0] * backbone.grid[1], backbone.dim)


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda state: state, ""),
        (lambda state: {"state_dict": state, "epoch": 3}, "module."),
        (lambda state: {"model": state}, ""),
    ],
    ids=["bare", "state_dict", "model"],
)
def test_local_weights_load_however_they_are_wrapped(save, wrap, prefix):
    state = constant_state(torchvision.models.resnet18())
    path = save(wrap({prefix + key: value for key, value in state.items()}))
    assert_loaded(build_backbone("resnet", "resnet18", 32, weights=path), state, but="fc.")


@pytest.mark.parametrize("skip", ["num_batches_tracked", "fc."])
def test_weights_without_batch_counters_or_classifier_load(save, skip):
    """torch itself loads batch norms without counters; the files of torchvision's older networks have none."""
    state = constant_state(torchvision.models.resnet18(), skip)
    assert_loaded(build_backbone("resnet", "resnet18", 32, weights=save(state)), state, but="fc.")


@pytest.mark.parametrize(("saved_at", "size"), [(64, 32), (32, 64), (64, 64)])
def test_vit_position_embeddings_are_interpolated_to_the_image_size(save, monkeypatch, saved_at, size):
    """Bicubic between aligned corners: the class token's stays, and so do those of the four corners."""
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights, image_size: tiny_vit(image_size))
    state = tiny_vit(saved_at).state_dict()
    backbone = build_backbone("vit", "vit_b_16", size, weights=save(state))
    before, after = state["encoder.pos_embedding"], backbone.network.state_dict()["encoder.pos_embedding"]
    corners = [grid.unflatten(1, (side, side))[:, :: side - 1, :: side - 1]
               for grid, side in ((before[:, 1:], saved_at // 16), (after[:, 1:], size // 16))]  # fmt: skip
    torch.testing.assert_close(after[:, 0], before[:, 0])
    torch.testing.assert_close(*corners)
    assert after.shape == (1, 1 + (size // 16) ** 2, 8)
    assert torch.equal(backbone.network.state_dict()["conv_proj.weight"], state["conv_proj.weight"])
    if saved_at == size:
        assert torch.equal(after, before)


@pytest.mark.parametrize("size", [64, 0])
@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_wee_patch16_reg1_gap_256", "swin_tiny_patch4_window7_224"]
)
def test_a_timm_models_own_weights_load_at_any_image_size(save, name, size):
    """With class token, with a register and mean pooling, with relative positions; size 0: the model's own."""
    timm = pytest.importorskip("timm")
    state = constant_state(timm.create_model(name))
    size = size or timm.get_pretrained_cfg(name).input_size[-1]
    backbone = build_backbone("timm", name, size, weights=save(state))
    assert_loaded(backbone, state, but=("head.", "fc_norm."))


def test_real_timm_weights_load(shared_data):
    timm = pytest.importorskip("timm")
    path = shared_data / "weights" / "tf_efficientnet_lite0.pth"
    if not path.is_file():
        pytest.skip("the real weights are not at hand")
    backbone = build_backbone("timm", "tf_efficientnet_lite0", 64, weights=str(path)).eval()
    reference = timm.create_model("tf_efficientnet_lite0").eval()
    reference.load_state_dict(torch.load(path, weights_only=True))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        features = reference.forward_features((images - 0.5) / 0.5)
        torch.testing.assert_close(backbone(images), features.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)


class Payload:
    """Unpickled, it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_weights_file_is_refused_and_not_run(tmp_path, save):
    path = save({"conv1.weight": torch.zeros(1), "extra": Payload(tmp_path / "executed")})
    with pytest.raises(DataError, match=r"MODEL.BACKBONE.WEIGHTS: .*weights.pth cannot be read"):
        build_backbone("resnet", "resnet18", 32, weights=path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", None], ids=["empty", "text", "cut short"])
def test_a_damaged_weights_file_is_named(tmp_path, save, content):
    path = tmp_path / "damaged.pth"
    path.write_bytes(Path(save({"a": torch.zeros(1000)})).read_bytes()[:2000] if content is None else content)
    with pytest.raises(DataError, match=r"MODEL.BACKBONE.WEIGHTS: .*damaged.pth cannot be read"):
        build_backbone("resnet", "resnet18", 32, weights=str(path))


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": 1}, {0: torch.zeros(1)}, torch.zeros(1)])
def test_a_file_without_a_state_dict_is_refused(save, content):
    with pytest.raises(DataError, match=r"weights.pth holds no state_dict of tensors"):
        build_backbone("resnet", "resnet18", 32, weights=save(content))


def test_a_missing_weights_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"MODEL.BACKBONE.WEIGHTS: .*nowhere.pth is missing"):
        build_backbone("vit", image_size=32, weights=str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer1.0.conv1.weight"), "lacks 1 tensors, e.g. layer1.0.conv1.weight: another model"),
        (lambda s: s.update(extra=torch.zeros(1)), "has unknown 1 tensors, e.g. extra: another model"),
        (lambda s: s.update({"conv1.weight": torch.zeros(2)}), "misshapes 1 tensors, e.g. conv1.weight: another"),
    ],
)
def test_weights_of_another_model_are_refused(save, change, message):
    state = constant_state(torchvision.models.resnet18())
    change(state)
    with pytest.raises(DataError, match=f"MODEL.BACKBONE.WEIGHTS: .*weights.pth {message}"):
        build_backbone("resnet", "resnet18", 32, weights=save(state))


@pytest.mark.parametrize(("kind", "name"), [("resnet", "resnet18"), ("resnet", "resnet101"), ("vit", "vit_b_16")])
def test_without_a_network_the_error_says_how_to_go_on(no_network, tmp_path, kind, name):
    message = (
        rf"cannot download {name} from https://\S+ \(URLError\); fetch the file elsewhere and put it in {tmp_path}, "
        "or name it by MODEL.BACKBONE.WEIGHTS, or set MODEL.BACKBONE.PRETRAINED False to train from scratch"
    )
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        build_backbone(kind, name, 32, pretrained=True, download_folder=tmp_path)


def test_without_a_network_timm_says_how_to_go_on_too(monkeypatch, tmp_path):
    timm = pytest.importorskip("timm")

    def create_model(name, pretrained, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(timm, "create_model", create_model)
    message = r"cannot download vit_tiny_patch16_224 \(URLError\).*MODEL.BACKBONE.WEIGHTS.*PRETRAINED False"
    with pytest.raises(ConfigError, match=message):
        build_backbone("timm", "vit_tiny_patch16_224", 32, pretrained=True, download_folder=tmp_path)


@pytest.mark.parametrize("skip", ["nothing", "num_batches_tracked"])
def test_a_downloaded_file_in_its_folder_needs_no_network(no_network, tmp_path, save, skip):
    state = constant_state(torchvision.models.resnet18(), skip)
    save(state, Path(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url).name)
    backbone = build_backbone("resnet", "resnet18", 32, pretrained=True, download_folder=tmp_path)
    assert_loaded(backbone, state, but="fc.")


def test_local_weights_go_before_a_download(no_network, save):
    state = constant_state(torchvision.models.resnet18())
    backbone = build_backbone("resnet", "resnet18", 32, weights=save(state), pretrained=True)
    assert_loaded(backbone, state, but="fc.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnext",), "unknown backbone type 'resnext': known are .*resnet.*; did you mean 'resnet'"),
        (("resnet", "resnet20"), "MODEL.BACKBONE.NAME is 'resnet20', expected one of resnet18, .*; did you mean"),
        (("vit", "resnet50"), "MODEL.BACKBONE.NAME is 'resnet50', expected one of vit_b_16, vit_l_16"),
        (("vit", "vit_b_16", 100), "DATASETS.IMAGE_SIZE is 100, but these ViTs need a multiple of 16"),
    ],
)
def test_wrong_names_and_sizes_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        build_backbone(*arguments)


@pytest.mark.parametrize(("name", "size"), [("coat_tiny", 224), ("levit_128s", 100)])
def test_a_timm_model_without_tokens_or_for_another_size_is_named(name, size):
    """One gives several maps at once, the other cannot do with this image size."""
    pytest.importorskip("timm")
    with torch.device("meta"), pytest.raises(ConfigError, match=name):
        build_backbone("timm", name, size)


def test_an_unknown_timm_name_gets_its_neighbours():
    pytest.importorskip("timm")
    message = "MODEL.BACKBONE.NAME is 'tf_efficientnet_lite9', unknown to timm; did you mean 'tf_efficientnet_lite"
    with pytest.raises(ConfigError, match=message):
        build_backbone("timm", "tf_efficientnet_lite9")


def test_timm_missing_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"needs timm: pip install 'REZSL\[timm\]'"):
        build_backbone("timm", "resnet18")

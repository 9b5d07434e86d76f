"""Published weights against the published forward passes, written out from their mathematics."""

import logging

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from REZSL.modeling import AttentionNet, BasicNet, GEMNet, ZSLModel, build_backbone, under_our_names
from REZSL.utils.errors import DataError

K, E, M, HIDDEN = 5, 7, 11, 13
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Published(nn.Module):
    """A model with the published parameter names; ``tokens`` are made as theirs are.

    Args:
        head: published names to layers and parameters.
        vit: its backbone is timm's ViT, not a ResNet.
    """

    def __init__(self, head, vit=False, prefix=""):
        super().__init__()
        backbone = (
            build_backbone("timm", "vit_tiny_patch16_224", 32) if vit else build_backbone("resnet", "resnet18", 32)
        )
        self.backbone = backbone.network
        if vit:
            self.backbone = nn.Module()
            self.backbone.vit = backbone.network
        self.vit, self.ours = vit, [backbone]  # in a list: no submodule, so no parameters of its own
        branch = self
        if prefix:
            branch = self.v2s_branch = nn.Module()
        for name, part in head.items():
            setattr(branch, name, part)
        self.branch = [branch]

    def tokens(self, images):
        images = (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        if self.vit:
            return self.backbone.vit.forward_features(images)
        n = self.backbone
        x = n.maxpool(n.relu(n.bn1(n.conv1(images))))
        return n.layer4(n.layer3(n.layer2(n.layer1(x)))).flatten(2).transpose(1, 2)

    def saved(self):
        """What the published code saves: DataParallel's names, no word vectors."""
        return {f"module.{name}": value for name, value in self.state_dict().items()}


def linear(inputs, outputs, in_sequential):
    layer = nn.Linear(inputs, outputs)
    return nn.Sequential(layer) if in_sequential else layer


def attention_parts(dim, hid_dim, in_sequential):
    parts = {
        "QueryW": linear(E, M, in_sequential),
        "KeyW": linear(dim, M, in_sequential),
        "ValueW": linear(dim, M, in_sequential),
        "W_o": linear(M, dim, in_sequential),
        "V_att_final_branch": nn.Parameter(torch.randn(K, hid_dim or dim)),
    }
    return parts | ({"V_att_hidden_branch": linear(dim, hid_dim, True)} if hid_dim else {})


def attention_net(published, words, images, ratio):
    """q, key with its bias, value, softmax without 1/sqrt(M), W_o, mean + ratio * attended, v_k: nothing folded."""
    branch, f = published.branch[0], published.tokens(images)
    logits = branch.QueryW(words) @ branch.KeyW(f).transpose(1, 2)  # (B, K, N)
    attended = branch.W_o(logits.softmax(2) @ branch.ValueW(f))  # (B, K, D)
    z = f.mean(1, keepdim=True) + ratio * attended
    if hasattr(branch, "V_att_hidden_branch"):
        z = branch.V_att_hidden_branch(z)
    return (z * branch.V_att_final_branch).sum(2)


def ours(published, head, **mean_and_std):
    kind, name = ("timm", "vit_tiny_patch16_224") if published.vit else ("resnet", "resnet18")
    return ZSLModel(build_backbone(kind, name, 32, **mean_and_std), head).eval()


def load(model, state):
    state = {name.removeprefix("module."): value for name, value in state.items()}
    model.load_state_dict(under_our_names(state, model, "published.pth"))
    return model


def assert_equal_outputs(found, wanted):
    assert ((found - wanted).abs().max() / wanted.abs().max()).item() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "v2s_branch"])
@pytest.mark.parametrize("in_sequential", [False, True], ids=["plain", "of AWA2"])
@pytest.mark.parametrize(("hid_dim", "ratio"), [(0, 1.0), (HIDDEN, 0.125)])
def test_attention_net(prefix, in_sequential, hid_dim, ratio):
    published = Published(attention_parts(512, hid_dim, in_sequential), prefix=prefix).eval()
    if in_sequential:  # trained by nothing
        published.W, published.V = nn.Parameter(torch.randn(E, 512)), nn.Parameter(torch.randn(512, K))
    words, images = torch.randn(K, E), torch.rand(2, 3, 64, 64)
    model = load(ours(published, AttentionNet(512, words, M, hid_dim, ratio=ratio)), published.saved())
    assert_equal_outputs(model(images).attributes, attention_net(published, words, images, ratio))


@torch.no_grad()
def test_attention_net_on_the_published_vit():
    pytest.importorskip("timm")
    published = Published(attention_parts(192, 0, False), vit=True, prefix="v2s_branch").eval()
    assert "module.backbone.vit.cls_token" in published.saved()
    words, images = torch.randn(K, E), torch.rand(2, 3, 32, 32)
    model = load(ours(published, AttentionNet(192, words, M), mean=MEAN, std=STD), published.saved())
    assert_equal_outputs(model(images).attributes, attention_net(published, words, images, 1.0))


@torch.no_grad()
@pytest.mark.parametrize("hid_dim", [0, HIDDEN])
def test_basic_net(hid_dim):
    parts = {"v2s": linear(512, K, True)}
    if hid_dim:
        parts = {"v2hid": linear(512, hid_dim, True), "hid2s": linear(hid_dim, K, True)}
    published, images = Published(parts).eval(), torch.rand(2, 3, 64, 64)
    model = load(ours(published, BasicNet(512, K, hid_dim)), published.saved())
    mean = published.tokens(images).mean(1)
    wanted = published.hid2s(F.leaky_relu(published.v2hid(mean), 0.1)) if hid_dim else published.v2s(mean)
    assert_equal_outputs(model(images).attributes, wanted)


@torch.no_grad()
@pytest.mark.parametrize("code", ["ReZSL", "GEM-ZSL"])
def test_gem_net(code):
    """GEM-ZSL's regressor is a matrix (D, K) without a bias."""
    v = linear(512, K, True) if code == "ReZSL" else nn.Parameter(torch.randn(512, K))
    parts = {"W": nn.Parameter(torch.randn(E, 512)), "V": v, "scale": nn.Parameter(torch.tensor(20.0))}
    published, words, images = Published(parts).eval(), torch.randn(K, E), torch.rand(2, 3, 64, 64)
    model = load(ours(published, GEMNet(512, words, 4)), published.saved())
    f = published.tokens(images)
    assert_equal_outputs(model(images).attributes, v(f.mean(1)) if code == "ReZSL" else f.mean(1) @ v)
    model.head.train()  # batch norm stays
    assert_equal_outputs(model(images).attention, (words @ published.W @ f.transpose(1, 2)).softmax(2))


def test_old_files_without_batch_counters_load():
    published = Published(attention_parts(512, 0, False))
    state = {name: value for name, value in published.saved().items() if "num_batches" not in name}
    model = load(ours(published, AttentionNet(512, torch.randn(K, E), M)), state)
    assert torch.equal(model.backbone.network.conv1.weight, state["module.backbone.conv1.weight"])


def test_weights_of_ours_stay_as_they_are():
    model = ZSLModel(build_backbone("resnet", "resnet18", 32), AttentionNet(512, torch.randn(K, E), M))
    assert under_our_names(state := model.state_dict(), model, "ours.pth") is state
    assert under_our_names({}, model, "empty.pth") == {}


@pytest.mark.parametrize(
    ("head", "wanted"),
    [
        (BasicNet(512, K), "MODEL.META_ARCHITECTURE AttentionNet"),
        (AttentionNet(512, nn.Parameter(torch.randn(K, E)), M), "MODEL.ATTENTION.EMBEDDING w2v"),
    ],
    ids=["head", "words"],
)
def test_another_model_is_told_with_the_key_to_set(head, wanted):
    published = Published(attention_parts(512, 0, False))
    with pytest.raises(DataError, match=f"^published.pth is of the published code, .*: set {wanted}$"):
        load(ours(published, head), published.saved())


def test_another_backbone_is_told_with_the_key_to_set():
    pytest.importorskip("timm")
    vit, resnet = (Published(attention_parts(dim, 0, False), vit) for dim, vit in ((192, True), (512, False)))
    for published, other, wanted in ((vit, resnet, "timm"), (resnet, vit, "resnet")):
        with pytest.raises(DataError, match=f"set MODEL.BACKBONE.TYPE {wanted}"):
            load(ours(other, AttentionNet(512, torch.randn(K, E), M)), published.saved())


@pytest.mark.parametrize(("prefix", "ratio", "told"), [("", 1.0, True), ("", 0.125, False), ("v2s_branch", 1.0, False)])
def test_the_ratio_that_old_weights_of_awa2_need_is_told(caplog, prefix, ratio, told):
    published = Published(attention_parts(512, 0, True), prefix=prefix)
    published.W = nn.Parameter(torch.randn(E, 512))
    with caplog.at_level(logging.WARNING):
        load(ours(published, AttentionNet(512, torch.randn(K, E), M, ratio=ratio)), published.saved())
    assert ("set MODEL.ATTENTION.RATIO 0.125" in caplog.text) == told

"""Which library's network tensors are of, by their names and shapes; and which of our backbones reads them."""

from torch import Tensor

State = dict[str, Tensor]
Found = tuple[str | None, tuple[str, str] | None]  # in words; TYPE and NAME

RESNETS = {  # by blocks a stage, and whether a block has three convolutions
    (2, 2, 2, 2, False): "resnet18",
    (3, 4, 6, 3, False): "resnet34",
    (3, 4, 6, 3, True): "resnet50",
    (3, 4, 23, 3, True): "resnet101",
    (3, 8, 36, 3, True): "resnet152",
}
TORCHVISION_VITS = {(768, 16): "vit_b_16", (1024, 16): "vit_l_16"}  # by width and side of a patch
TIMM_VITS = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge"}  # by width
OTHERS = (  # how names begin, or a part of them
    ("embedder.embedder.convolution.", "a ResNet of transformers, whose names no TYPE reads: take TYPE resnet's own"),
    ("visual.conv1.", "a CLIP model: take timm's copy of its image part (TYPE timm, a NAME with clip)"),
    ("vision_model.embeddings.", "a CLIP model: take timm's copy of its image part (TYPE timm, a NAME with clip)"),
    ("downsample_layers.0.", "a ConvNeXt: set TYPE timm and its NAME"),
    ("stages.0.blocks.0.conv_dw.", "a ConvNeXt: set TYPE timm and its NAME"),
    ("conv_stem.", "an EfficientNet or MobileNet of timm: set TYPE timm and its NAME"),
    ("features.0.", "a network of torchvision that no TYPE reads: take timm's copy of it"),
    ("word_embeddings.", "a language model"),
)


def recognised(state: State) -> Found:
    """Says what network the tensors ``state`` are of.

    Returns:
        In words, or None where nothing is recognised; the TYPE and NAME that read it, or None where none does.
    """
    if _has(state, "v2s_branch.") or _has(state, "backbone.network."):
        return "a whole classifier, not a backbone alone: name it by MODEL.WEIGHT", None
    if (first := _shape(state, "conv_proj.weight")) and _has(state, "encoder_layer_0."):
        return _vit_of_torchvision(first)
    if (first := _shape(state, "patch_embed.proj.weight")) and _has(state, "blocks.0.attn.qkv."):
        if first[0] not in TIMM_VITS or first[-1] < 8:  # a Swin Transformer has such names too
            return "a transformer in timm's names: set TYPE timm and its NAME", None
        return _vit_of_timm(state, first)
    if (first := _shape(state, "patch_embeddings.projection.weight")) and _has(state, "encoder.layer.0."):
        return f"a ViT of transformers, whose names no TYPE reads: take TYPE timm, NAME {_timm_vit(first)}", None
    if _shape(state, "conv1.weight") and _has(state, "layer1.0.conv1."):
        return _resnet(state)
    return next((what for mark, what in OTHERS if _has(state, mark)), None), None


def _shape(state: State, end: str) -> tuple[int, ...] | None:
    return next((tuple(value.shape) for name, value in state.items() if f".{name}".endswith(f".{end}")), None)


def _has(state: State, part: str) -> bool:
    return any(f".{part}" in f".{name}" for name in state)


def _vit_of_torchvision(first: tuple[int, ...]) -> Found:
    width, patch = first[0], first[-1]
    what, name = f"a ViT of torchvision, {width} wide with patches of {patch}", TORCHVISION_VITS.get((width, patch))
    return (what, ("vit", name)) if name else (f"{what}, which no TYPE reads: take timm's copy of it", None)


def _timm_vit(first: tuple[int, ...], kind: str = "224") -> str:
    return f"vit_{TIMM_VITS.get(first[0], 'SIZE')}_patch{first[-1]}_{kind}"


def _vit_of_timm(state: State, first: tuple[int, ...]) -> Found:
    what = f"a ViT in timm's names, {first[0]} wide with patches of {first[-1]}"
    if _has(state, "fc_norm.") and "norm.weight" not in state:
        return f"{what}, tuned with mean pooling (MAE's global pool: fc_norm, no norm): take one that is not", None
    return what, ("timm", _timm_vit(first, "dinov2" if _has(state, "ls1.gamma") else "224"))


def _resnet(state: State) -> Found:
    stages = [[name.split(f"layer{n}.")[1] for name in state if f"layer{n}." in name] for n in (1, 2, 3, 4)]
    blocks = [len({name.split(".")[0] for name in stage}) for stage in stages]
    deep = _has(state, "layer1.0.conv3.")
    if _shape(state, "layer1.0.conv2.weight") == (64, 64, 3, 3) and (*blocks, deep) in RESNETS:
        name = RESNETS[(*blocks, deep)]
        return f"a {name}", ("resnet", name)
    return f"a kind of ResNet with {'-'.join(map(str, blocks))} blocks: TYPE timm may read it, with its NAME", None

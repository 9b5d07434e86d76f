"""A whole training step: ours, taken apart, against the same step as it is usually written."""

import contextlib
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from REZSL.modeling import AttentionNet, ReMSELoss, ZSLCriterion, ZSLModel, build_backbone, weighted_RegressLoss
from REZSL.modeling.model import class_scores

from .head import plain_attributes
from .remse import LoopReZSL
from .timing import interleaved, spread

MIB = 2**20
BATCH, WAYS = 32, 16
SEEN, ATTRIBUTES, EMBEDDING, SCALE = 150, 312, 300, 20.0  # of CUB
MODELS = {  # by device: name, type, image size in pixels, channel of the head
    "cpu": [("resnet18", "resnet", 64, 128), ("resnet18", "resnet", 224, 1024)],
    "cuda": [("resnet101", "resnet", 448, 1024), ("vit_b_16", "vit", 224, 1024)],
}


def benchmark_step(repeats: int) -> dict:
    """Times a step of AttentionNet on a backbone that is trained: on CUDA (ours in bfloat16), or on the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    print(f"{name}, torch {torch.__version__}; B={BATCH}; median [quartiles] of {repeats}")
    return {model[0] + f", {model[2]} px": _benchmark_model(*model, device, repeats) for model in MODELS[device.type]}


def _benchmark_model(name: str, kind: str, size: int, channel: int, device: torch.device, repeats: int) -> dict:
    steps = [make(name, kind, size, channel, device) for make in (PlainStep, OurStep)]
    plain, ours = interleaved([_finished(step, device) for step in steps], [1, 1], repeats)
    rates = [[BATCH / seconds for seconds in times] for times in (plain, ours)]
    ratio = [a / b for a, b in zip(plain, ours, strict=True)]
    print(
        f"{name}, {size} px: plain {spread(rates[0])}, ours {spread(rates[1])} images/s, {spread(ratio)} times faster"
    )
    figures = {"plain_images_per_s": rates[0], "ours_images_per_s": rates[1], "ratio": ratio}
    if device.type == "cuda":
        figures["peak_mib"] = [_peak_mib(step) for step in steps]
        print(f"    peak memory: plain {figures['peak_mib'][0]:.0f} MiB, ours {figures['peak_mib'][1]:.0f} MiB")
    figures["parts_s"] = _parts(steps[1], device, repeats)
    whole = sum(sorted(times)[len(times) // 2] for times in figures["parts_s"].values())
    for part, times in figures["parts_s"].items():
        share = 100 * sorted(times)[len(times) // 2] / whole
        print(f"    {part:<11} {spread(times, 1e3)} ms, {share:.0f} %")
    return figures


def _finished(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    def run() -> None:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def _peak_mib(step: Callable[[], None]) -> float:
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() / MIB


def _parts(step: "OurStep", device: torch.device, repeats: int) -> dict[str, list[float]]:
    """Seconds of each part of the step, of which each waits for the one before."""
    times: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def clock(part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.setdefault(part, []).append(time.perf_counter() - started)

    for _ in range(repeats + 2):
        step(clock)
    return {part: seconds[2:] for part, seconds in times.items()}


class OurStep:
    """The step as the training takes it: uint8 images, bfloat16 on CUDA, the fused head, ReMSE by tables."""

    def __init__(self, name: str, kind: str, size: int, channel: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.device, on_gpu = device, device.type == "cuda"
        self.dtype = torch.bfloat16 if on_gpu else torch.float32
        backbone = build_backbone(kind, name, size)
        self.model = ZSLModel(backbone, AttentionNet(backbone.dim, torch.randn(ATTRIBUTES, EMBEDDING), channel))
        self.remse = ReMSELoss(SEEN, ATTRIBUTES, 0.1, 0.75, reg_norm=True, validate=False)
        criterion = ZSLCriterion(torch.rand(SEEN, ATTRIBUTES), self.remse, SCALE, (1.0, 0.25, 0.0, 0.0))
        self.model, self.criterion = self.model.to(device), criterion.to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 1e-4, momentum=0.9, weight_decay=1e-5, fused=True)
        self.images = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8)
        self.labels = torch.randperm(SEEN)[:WAYS].repeat_interleave(BATCH // WAYS)

    def __call__(self, clock: Callable = lambda part: contextlib.nullcontext()) -> None:
        with clock("transfer"):
            images, labels = self.images.to(self.device), self.labels.to(self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            with clock("backbone"):
                tokens = self.model.backbone(images)
            with clock("head"):
                output = self.model.head(tokens)
        with clock("ReMSE"):
            self.remse.statistics.weigh(output.attributes.float(), self.criterion.signatures[labels], labels)
        with clock("criterion"):
            loss = self.criterion.total(self.criterion(output, labels))
        with clock("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        with clock("optimiser"):
            self.optimizer.step()


class PlainStep:
    """The same step as it is usually written: float images in float32 without TF32, attention token by token, loops."""

    def __init__(self, name: str, kind: str, size: int, channel: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.device = device
        backbone = build_backbone(kind, name, size)
        self.head = AttentionNet(backbone.dim, torch.randn(ATTRIBUTES, EMBEDDING), channel).to(device)
        self.backbone = backbone.to(device).to(memory_format=torch.contiguous_format)
        if kind == "resnet":
            self.backbone.tokens = self._resnet_tokens
        self.signatures = torch.rand(SEEN, ATTRIBUTES, device=device)
        with torch.device(device):
            self.rezsl = LoopReZSL(0.1, 0.75, ATTRIBUTES, SEEN)
        self.regression = weighted_RegressLoss(True)
        parameters = [*self.backbone.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.SGD(parameters, 1e-4, momentum=0.9, weight_decay=1e-5)
        self.images = torch.rand(BATCH, 3, size, size)
        self.labels = torch.randperm(SEEN)[:WAYS].repeat_interleave(BATCH // WAYS)

    def __call__(self) -> None:
        with _without_tf32():
            images, labels = self.images.to(self.device), self.labels.to(self.device)
            attributes = plain_attributes(self.head, self.backbone(images))
            with torch.device(self.device):
                weights = self.rezsl.weigh(attributes.detach(), self.signatures[labels], labels)
            loss = nn.functional.cross_entropy(class_scores(attributes, self.signatures, SCALE), labels)
            loss = loss + 0.25 * self.regression(attributes, self.signatures[labels], weights)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def _resnet_tokens(self, images: Tensor) -> Tensor:
        n = self.backbone.network
        x = n.layer4(n.layer3(n.layer2(n.layer1(n.maxpool(n.relu(n.bn1(n.conv1(images))))))))
        return x.flatten(2).transpose(1, 2)


@contextlib.contextmanager
def _without_tf32() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before

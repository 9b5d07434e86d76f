"""The ReMSE update and weights of a batch, against loops over images, classes and attributes."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from REZSL.modeling import AttentionNet, ReMSELoss, ReZSL, ZSLCriterion, ZSLModel, build_backbone

from .timing import interleaved, spread

SIZES = {"CUB": (150, 312), "SUN": (645, 102), "AWA2": (40, 85)}  # seen classes, attributes
BATCH, WAYS = 32, 16


def benchmark_remse(repeats: int) -> dict:
    """Times the ReMSE update and weights against loops over images, classes and attributes."""
    print(
        f"cpu, {torch.get_num_threads()} threads, torch {torch.__version__}; B={BATCH}; median [quartiles] of {repeats}"
    )
    figures = {}
    for name, (num_classes, num_attributes) in SIZES.items():
        pred, target = torch.rand(2, BATCH, num_attributes)
        labels = torch.randperm(num_classes)[:WAYS].repeat_interleave(BATCH // WAYS)
        loops = LoopReZSL(0.1, 0.75, num_attributes, num_classes)
        rezsl = ReZSL(0.1, 0.75, num_attributes, num_classes, validate=False)  # as in training
        torch.compiler.reset()  # another shape compiles its own code
        forms = {
            "loops": partial(loops.weigh, pred, target, labels),
            "ours": partial(rezsl.weigh, pred, target, labels),
            "ours, torch.compile": partial(torch.compile(rezsl.weigh), pred, target, labels),
        }
        for form in forms.values():
            torch.testing.assert_close(form(), forms["loops"]())
        times = dict(zip(forms, interleaved(list(forms.values()), [1, 50, 50], repeats), strict=True))
        print(f"{name} {num_classes}x{num_attributes}: loops {spread(times['loops'], 1e3)} ms")
        figures[name] = {"seconds": times, "ratio": {}}
        for form in list(forms)[1:]:
            ratio = [slow / fast for slow, fast in zip(times["loops"], times[form], strict=True)]
            figures[name]["ratio"][form] = ratio
            print(f"    {form:<19} {spread(times[form], 1e3)} ms, {spread(ratio)} times faster")
    figures["share_of_step"] = step_share(repeats)
    return figures


def step_share(repeats: int) -> list[float]:
    """The share of a whole training step (ResNet-18 at 64 px, AttentionNet, CUB's sizes) that ReMSE takes."""
    num_classes, num_attributes = SIZES["CUB"]
    backbone = build_backbone("resnet", "resnet18", 64)
    model = ZSLModel(backbone, AttentionNet(backbone.dim, torch.randn(num_attributes, 300), 128))
    signatures = torch.rand(num_classes, num_attributes)
    remse = ReMSELoss(num_classes, num_attributes, 0.1, 0.75, reg_norm=True, validate=False)
    criterion = ZSLCriterion(signatures, remse, 20.0, (1.0, 1.0, 0.0, 0.0))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    images = torch.randint(0, 256, (BATCH, 3, 64, 64), dtype=torch.uint8)
    labels = torch.randint(num_classes, (BATCH,))
    attributes = torch.rand(BATCH, num_attributes)

    def step() -> None:
        optimizer.zero_grad()
        criterion.total(criterion(model(images), labels)).backward()
        optimizer.step()

    def statistics_only() -> None:
        remse.statistics.weigh(attributes, signatures[labels], labels)

    whole, part = interleaved([step, statistics_only], [1, 20], repeats)
    share = [b / a for a, b in zip(whole, part, strict=True)]
    print(f"share of a training step (ResNet-18, 64 px, CUB's sizes): {spread(share, 100)} %")
    return share


class LoopReZSL:
    """The plain form, a tensor at a time: loops over images, classes and attributes, as the published code has them."""

    def __init__(self, p: float, p2: float, num_attributes: int, num_classes: int) -> None:
        self.p, self.p2, self.shape = p, p2, (num_classes, num_attributes)
        self.minimum = torch.zeros(num_attributes)
        self.weights = torch.ones(self.shape)

    def weigh(self, pred: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """What a training step asks of ReMSE."""
        self.updateWeightsMatrix(pred, target, labels)
        return self.getWeights(*pred.shape, labels)

    def updateWeightsMatrix(self, pred: Tensor, target: Tensor, labels: Tensor) -> None:
        """Sets the weights (C, K) from one batch."""
        error_mean = self.class_means(pred, target, labels)
        num_classes, num_attributes = self.shape
        by_attribute, positive = error_mean.T, error_mean.T > 0
        across_classes = torch.ones(num_attributes, num_classes)
        for k in range(num_attributes):
            candidates = torch.masked_select(by_attribute[k], positive[k])
            if candidates.numel():
                self.minimum[k] = candidates.min()
                across_classes[k] = torch.log(by_attribute[k] / self.minimum[k]) + 1.0
        across_attributes = torch.ones(num_classes, num_attributes)
        for c in range(num_classes):
            candidates = torch.masked_select(error_mean[c], positive.T[c])
            if candidates.numel():
                across_attributes[c] = torch.log(error_mean[c] / candidates.min()) + 1.0
        across_classes = (across_classes**self.p).masked_fill(~positive, 1.0).T
        self.weights = across_classes * (across_attributes**self.p2).masked_fill(~positive.T, 1.0)

    def class_means(self, pred: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """The mean error (C, K) of the images of each class."""
        error = (F.normalize(pred, dim=1) - F.normalize(target, dim=1)) ** 2
        total, mean = torch.zeros(2, *self.shape)
        count = torch.zeros(self.shape[0], dtype=torch.int64)
        for i in range(len(labels)):
            total[labels[i]] = total[labels[i]] + error[i]
            count[labels[i]] = count[labels[i]] + 1
        for c in range(len(count)):
            if count[c] > 0:
                mean[c] = total[c] / count[c]
        return mean

    def getWeights(self, n: int, dim: int, labels: Tensor) -> Tensor:
        """The weights (n, dim) of the images with ``labels``."""
        weights = torch.ones(n, dim)
        for i in range(n):
            weights[i] = self.weights[labels[i]]
        return weights

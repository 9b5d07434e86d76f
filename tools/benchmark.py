"""Measures REZSL against the plain form of the same computation, in the same run.

python tools/benchmark.py remse [--json FILE]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from REZSL.modeling import AttentionNet, ReMSELoss, ReZSL, ZSLCriterion, ZSLModel, build_backbone
from REZSL.utils.files import write_text

SIZES = {"CUB": (150, 312), "SUN": (645, 102), "AWA2": (40, 85)}  # seen classes, attributes
BATCH, WAYS = 32, 16


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("remse",), help="remse: update and weights of one batch of 32 images")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=15, help="timings per figure (default 15)")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    figures = benchmark_remse(args.repeats)
    if args.json:
        write_text(args.json, json.dumps(figures, indent=2) + "\n")
    return 0


def benchmark_remse(repeats: int) -> dict:
    """Times the ReMSE update and weights against loops over images, classes and attributes."""
    print(
        f"cpu, {torch.get_num_threads()} threads, torch {torch.__version__}; B={BATCH}; median [quartiles] of {repeats}"
    )
    figures = {}
    for name, (num_classes, num_attributes) in SIZES.items():
        pred, target = torch.rand(2, BATCH, num_attributes)
        labels = torch.randperm(num_classes)[:WAYS].repeat_interleave(BATCH // WAYS)
        rezsl = ReZSL(0.1, 0.75, num_attributes, num_classes, validate=False)  # as in training

        ours = partial(update_and_weights, rezsl, pred, target, labels)
        loops = partial(loop_weights, pred, target, labels, num_classes, 0.1, 0.75)
        torch.testing.assert_close(ours(), loops())
        fast, slow = interleaved([ours, loops], [50, 1], repeats)
        ratio = [b / a for a, b in zip(fast, slow, strict=True)]
        print(
            f"{name:<5} {num_classes}x{num_attributes}: loops {spread(slow, 1e3)} ms, ours {spread(fast, 1e3)} ms, "
            f"{spread(ratio)} times faster"
        )
        figures[name] = {"loops_s": slow, "ours_s": fast, "ratio": ratio}
    figures["share_of_step"] = step_share(repeats)
    return figures


def update_and_weights(rezsl: ReZSL, pred: Tensor, target: Tensor, labels: Tensor) -> Tensor:
    """What a training step asks of ReMSE."""
    rezsl.updateWeightsMatrix(pred, target, labels)
    return rezsl.getWeights(*pred.shape, labels)


def step_share(repeats: int) -> list[float]:
    """The share of a whole training step (ResNet-18 at 64 px, AttentionNet, CUB's sizes) that ReMSE takes."""
    num_classes, num_attributes = SIZES["CUB"]
    backbone = build_backbone("resnet", "resnet18", 64)
    model = ZSLModel(backbone, AttentionNet(backbone.dim, torch.randn(num_attributes, 300), 128))
    signatures = torch.rand(num_classes, num_attributes)
    remse = ReMSELoss(num_classes, num_attributes, 0.1, 0.75, validate=False)
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
        update_and_weights(remse.statistics, attributes, signatures[labels], labels)

    whole, part = interleaved([step, statistics_only], [1, 20], repeats)
    share = [b / a for a, b in zip(whole, part, strict=True)]
    print(f"share of a training step (ResNet-18, 64 px, CUB's sizes): {spread(share, 100)} %")
    return share


def loop_weights(pred: Tensor, target: Tensor, labels: Tensor, num_classes: int, p: float, p2: float) -> Tensor:
    """The plain form, tensor by tensor: images into classes, then each attribute, each class, each image."""
    error = (F.normalize(pred, dim=1) - F.normalize(target, dim=1)) ** 2
    num_attributes = error.shape[1]
    total, count = torch.zeros(num_classes, num_attributes), torch.zeros(num_classes, dtype=torch.long)
    for i in range(len(labels)):
        total[labels[i]] = total[labels[i]] + error[i]
        count[labels[i]] = count[labels[i]] + 1
    mean = torch.zeros(num_classes, num_attributes)
    for c in range(num_classes):
        if count[c] > 0:
            mean[c] = total[c] / count[c]
    across_classes, across_attributes = torch.ones(num_classes, num_attributes), torch.ones(num_classes, num_attributes)
    for k in range(num_attributes):
        positive = mean[:, k] > 0
        if positive.any():
            minimum = mean[:, k][positive].min()
            across_classes[:, k] = (1 + torch.log(mean[:, k] / minimum)) ** p
    for c in range(num_classes):
        positive = mean[c] > 0
        if positive.any():
            minimum = mean[c][positive].min()
            across_attributes[c] = (1 + torch.log(mean[c] / minimum)) ** p2
    table = (across_classes * across_attributes).masked_fill(mean <= 0, 1.0)
    weights = torch.ones(len(labels), num_attributes)
    for i in range(len(labels)):
        weights[i] = table[labels[i]]
    return weights


def interleaved(functions: list[Callable], calls: list[int], repeats: int) -> list[list[float]]:
    """Times the functions in turn, so that a slow moment of the machine meets all: seconds a call, per function."""
    times: list[list[float]] = [[] for _ in functions]
    for repeat in range(repeats + 2):
        for function, number, seconds in zip(functions, calls, times, strict=True):
            started = time.perf_counter()
            for _ in range(number):
                function()
            if repeat >= 2:  # the first two warm up
                seconds.append((time.perf_counter() - started) / number)
    return times


def spread(values: list[float], factor: float = 1.0) -> str:
    """Median and quartiles as text."""
    low, middle, high = statistics.quantiles([value * factor for value in values], n=4)
    return f"{middle:.3g} [{low:.3g} {high:.3g}]"


if __name__ == "__main__":
    sys.exit(main())

"""Measures REZSL against the plain form of the same computation, in the same run.

python tools/benchmark.py remse [--json FILE]
python tools/benchmark.py eval [--json FILE]
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from REZSL.evaluation import evaluate_scores
from REZSL.modeling import AttentionNet, ReMSELoss, ReZSL, ZSLCriterion, ZSLModel, build_backbone
from REZSL.utils.files import write_text

TEST_SIZES = {"CUB": (4731, 150, 50), "AWA2": (13795, 40, 10), "SUN": (4020, 645, 72)}  # images, seen, unseen classes
SIZES = {"CUB": (150, 312), "SUN": (645, 102), "AWA2": (40, 85)}  # seen classes, attributes
BATCH, WAYS = 32, 16


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = {"remse": benchmark_remse, "eval": benchmark_eval}
    parser.add_argument("what", choices=what, help="remse: update and weights of a batch; eval: a GZSL evaluation")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=15, help="timings per figure (default 15)")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    figures = what[args.what](args.repeats)
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
        loops = LoopReZSL(0.1, 0.75, num_attributes, num_classes)
        rezsl = ReZSL(0.1, 0.75, num_attributes, num_classes, validate=False)  # as in training
        torch.compiler.reset()  # another shape compiles its own code
        forms = {
            "loops": partial(update_and_weights, loops, pred, target, labels),
            "ours": partial(update_and_weights, rezsl, pred, target, labels),
            "ours, torch.compile": partial(torch.compile(update_and_weights), rezsl, pred, target, labels),
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


def update_and_weights(rezsl: "ReZSL | LoopReZSL", pred: Tensor, target: Tensor, labels: Tensor) -> Tensor:
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


def benchmark_eval(repeats: int) -> dict:
    """Times T1, all rows and AUSUC from scores against a grid of gamma in steps of 0.01, which is walked once."""
    print(f"cpu, numpy {np.__version__}; from scores; median [quartiles] of {repeats}, the grid once")
    figures = {}
    for name, (num_images, num_seen, num_unseen) in TEST_SIZES.items():
        rng = np.random.default_rng(0)
        seen = np.arange(num_seen + num_unseen) < num_seen
        labels = rng.integers(len(seen), size=num_images)
        scores = rng.normal(size=(num_images, len(seen)))  # of 20 times a cosine: from -20 to 20
        scores[np.arange(num_images), labels] += 3
        (seconds,) = interleaved([partial(evaluate_scores, scores, labels, seen, 0.7, 0.9)], [3], repeats)
        started = time.perf_counter()
        best, steps = grid_best_h(scores, labels, seen)
        grid = time.perf_counter() - started
        exact = evaluate_scores(scores, labels, seen, 0.7).gzsl["oracle"].H
        ratio = [grid / each for each in seconds]
        print(
            f"{name:<5} {num_images}x{len(seen)}: {spread(seconds, 1e3)} ms, grid of {steps} steps {grid:.1f} s, "
            f"{spread(ratio)} times faster; best H {exact:.4f}, of the grid {best:.4f}"
        )
        figures[name] = {"ours_s": seconds, "grid_s": grid, "grid_steps": steps, "ratio": ratio}
    return figures


def grid_best_h(scores: np.ndarray, labels: np.ndarray, seen: np.ndarray) -> tuple[float, int]:
    """The plain form: every image scored anew at every gamma between the smallest and the largest that matter."""
    margins = scores[:, seen].max(1) - scores[:, ~seen].max(1)
    gammas = np.arange(margins.min(), margins.max() + 0.01, 0.01)
    best = 0.0
    for gamma in gammas:
        right = (scores - gamma * seen).argmax(1) == labels
        accuracy = np.array([right[labels == c].mean() for c in np.unique(labels)])
        of_seen = seen[np.unique(labels)]
        unseen_accuracy, seen_accuracy = accuracy[~of_seen].mean(), accuracy[of_seen].mean()
        total = unseen_accuracy + seen_accuracy
        best = max(best, 2 * unseen_accuracy * seen_accuracy / total if total else 0.0)
    return best, len(gammas)


class LoopReZSL:
    """The plain form, a tensor at a time: loops over images, classes and attributes, as the published code has them."""

    def __init__(self, p: float, p2: float, num_attributes: int, num_classes: int) -> None:
        self.p, self.p2, self.shape = p, p2, (num_classes, num_attributes)
        self.minimum = torch.zeros(num_attributes)
        self.weights = torch.ones(self.shape)

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

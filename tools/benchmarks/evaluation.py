"""A whole evaluation from scores, against the usual grid of calibrations."""

import time
from functools import partial

import numpy as np

from REZSL.evaluation import evaluate_scores

from .timing import interleaved, spread

TEST_SIZES = {"CUB": (4731, 150, 50), "AWA2": (13795, 40, 10), "SUN": (4020, 645, 72)}  # images, seen, unseen classes


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
            f"{spread(ratio)} times faster; oracle H {exact:.4f}, of the grid {best:.4f}"
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

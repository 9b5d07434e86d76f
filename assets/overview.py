"""Draws assets/overview.png from a run on the demo data set: python assets/overview.py runs/demo Dataset"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from REZSL.data import find_images, load_split
from REZSL.data.image_file import open_image
from REZSL.evaluation import Predictions, cosine_scores, evaluate

RIGHT, WRONG = "#0072B2", "#D55E00"


def main(run: str, root: str) -> None:
    predictions = Predictions.load(Path(run) / "predictions.npz")
    split = load_split(root, "DEMO")
    paths = find_images(split.image_files, Path(root) / "DEMO")
    unseen = range(predictions.num_seen, len(predictions.signatures))
    scores = cosine_scores(predictions.attributes, predictions.signatures, predictions.scale)
    guesses = predictions.num_seen + scores[:, predictions.num_seen :].argmax(1)
    names = [name.split(".")[1].replace("_", " ") for name in predictions.class_names]

    figure = Figure(figsize=(12.5, 4.1), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2.6, 1))
    left.suptitle("Images of the ten unseen classes, and the class each is given", fontsize=11)
    for axes, c in zip(left.subplots(2, 5).flat, unseen, strict=True):
        row = np.flatnonzero(predictions.labels == c)[0]
        axes.imshow(open_image(paths[predictions.images[row]]))
        right_guess = guesses[row] == c
        axes.set_title(f"{names[c]}", fontsize=8)
        axes.set_xlabel(names[guesses[row]], fontsize=8, color=RIGHT if right_guess else WRONG)
        axes.set(xticks=[], yticks=[])
    results = evaluate(predictions, 0.7)
    axes = right.subplots()
    axes.plot(100 * results.curve.unseen, 100 * results.curve.seen, color=RIGHT)
    axes.fill_between(100 * results.curve.unseen, 100 * results.curve.seen, color=RIGHT, alpha=0.12, linewidth=0)
    axes.set(xlabel="U, unseen accuracy (%)", ylabel="S, seen accuracy (%)", xlim=(0, 100), ylim=(0, 100))
    axes.set_title(f"T1 {100 * results.T1:.1f}, AUSUC {100 * results.AUSUC:.1f}", fontsize=10)
    axes.grid(alpha=0.3)
    figure.savefig(Path(__file__).with_name("overview.png"), dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])

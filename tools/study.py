"""Compares ways to weigh the regression loss, over seeds: MSE, ReMSE, and others where asked.

python tools/study.py --config-file config/BasicNet/cub_features_BasicNet.yaml --lambda1 0.25 128 --seeds 1 2 3 4 5

Each arm, at each LAMBDA1, is trained once a seed, in OUTPUT_DIR/ARM_LAMBDA1/seed_N; what is finished already is not
repeated. The table gives means with their 95 % t-interval over seeds, and differences from the first arm at the same
LAMBDA1, paired by seed: where the interval of a difference holds 0, the study does not show one.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from train import run_seeds

from REZSL.config import load_config
from REZSL.evaluation import Predictions, error_table, summarise, t_interval
from REZSL.report import Table, figures_of
from REZSL.utils.command import leading_seeds, run_command

log = logging.getLogger("REZSL.study")

ARMS = {
    "mse": ("MODEL.REZSL.USE", "False"),
    "in_batch": ("MODEL.REZSL.USE", "True", "MODEL.REZSL.WEIGHT_TYPE", "in_batch"),
    "cross_batch": ("MODEL.REZSL.USE", "True", "MODEL.REZSL.WEIGHT_TYPE", "cross_batch"),
    "ema": ("MODEL.REZSL.USE", "True", "MODEL.REZSL.WEIGHT_TYPE", "ema"),
    "focal_r": ("MODEL.REZSL.USE", "False", "MODEL.LOSS.REWEIGHT", "focal_r"),
    "lds": ("MODEL.REZSL.USE", "False", "MODEL.LOSS.REWEIGHT", "lds"),
}
FIGURES = {  # name in the table: (field, factor, digits)
    "T1": ("T1", 100, 1),
    "H": ("oracle H", 100, 1),
    "AUSUC": ("AUSUC", 100, 1),
    "error, mean x1e3": ("error_mean", 1e3, 2),
    "error, std x1e3": ("error_std", 1e3, 2),
    "correlation": ("pearson_class", 1, 3),
    "gradient share %": ("gradient_share", 100, 1),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` and returns the exit status: 0, 1 (an error told in one line) or 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", metavar="FILE", required=True, help="YAML experiment")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS)[:3], metavar="ARM", help=", ".join(ARMS))
    parser.add_argument("--lambda1", nargs="+", type=float, required=True, metavar="X", help="MODEL.LOSS.LAMBDA1")
    parser.add_argument("--seeds", nargs="+", required=True, metavar="N")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys that go before the file")
    args = parser.parse_intermixed_args(argv)
    return run_command(lambda: study(args), goes_on="the same command goes on with what is missing")


def study(args: argparse.Namespace) -> None:
    """Trains what is missing and writes ``study.txt``, ``.csv`` and ``.md`` to OUTPUT_DIR."""
    seeds, overrides = leading_seeds(args.seeds)
    overrides += args.overrides
    output = Path(load_config(args.config_file, overrides).OUTPUT_DIR)
    rows = []
    for lambda1 in args.lambda1:
        first = None
        for arm in args.arms:
            folder = output / f"{arm}_{lambda1:g}"
            options = [*ARMS[arm], "MODEL.LOSS.LAMBDA1", str(lambda1), "OUTPUT_DIR", str(folder)]
            results = run_seeds(args.config_file, [*overrides, *options], seeds)
            runs = [_measures(folder / f"seed_{seed}", one) for seed, one in zip(seeds, results, strict=True)]
            first = first or runs
            rows.append([f"{lambda1:g}", arm, *(_cell(name, runs, first) for name in FIGURES)])
    table = Table(["LAMBDA1", "arm", *FIGURES], rows)
    table.save(output / "study")
    log.info("\n%s\n\n%d seeds; mean ± 95 %% t-interval; in brackets the", table.text(), len(seeds))
    log.info("paired difference from %s, which the seeds show where it is starred", args.arms[0])


def _measures(folder: Path, results: dict) -> dict[str, float]:
    """The figures of one run: accuracies, imbalance over all classes, mean gradient share of the regression."""
    imbalance = summarise(error_table(Predictions.load(folder / "predictions.npz")))["all"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    share = fmean(line["gradient_share"]["regression"] for line in lines)
    return {**figures_of(results), **vars(imbalance), "gradient_share": share}


def _cell(name: str, runs: list[dict[str, float]], first: list[dict[str, float]]) -> str:
    field, factor, digits = FIGURES[name]
    values, base = (factor * np.array([run[field] for run in arm]) for arm in (runs, first))
    interval = t_interval(values)
    text = f"{interval.mean:.{digits}f} ± {interval.high - interval.mean:.{digits}f}"
    if runs is first or field == "gradient_share":
        return text
    paired = t_interval(values - base)
    shown = "*" if paired.low > 0 or paired.high < 0 else ""
    return f"{text} ({paired.mean:+.{digits}f} ± {paired.high - paired.mean:.{digits}f}{shown})"


if __name__ == "__main__":
    sys.exit(main())

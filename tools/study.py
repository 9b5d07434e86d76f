"""Compares ways to weigh the regression loss, over seeds: MSE, ReMSE, and others where asked.

python tools/study.py --config-file config/BasicNet/cub_features_BasicNet.yaml --lambda1 0.25 128 --seeds 1 2 3 4 5

Each arm, at each LAMBDA1, is trained once a seed, in OUTPUT_DIR/ARM_LAMBDA1/seed_N; what is finished already is not
repeated. The table gives means with their 95 % t-interval over seeds, and differences from the first arm at the same
LAMBDA1, paired by seed: where the interval of a difference holds 0, the study does not show one. Errors are those of
tools/analyze.py, over all classes.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from train import run_seeds

from REZSL.config import load_config
from REZSL.evaluation import Predictions, error_table, summarise, t_interval
from REZSL.evaluation.analysis import ERROR_KINDS
from REZSL.report import Table, figures_of, read_history
from REZSL.utils.command import leading_seeds, run_command

log = logging.getLogger("REZSL.study")

ARMS = {
    "mse": ("MODEL.REZSL.USE", "False"),
    "in_batch": ("MODEL.REZSL.USE", "True", "MODEL.REZSL.WEIGHT_TYPE", "in_batch"),
    "cross_batch": ("MODEL.REZSL.USE", "True", "MODEL.REZSL.WEIGHT_TYPE", "cross_batch"),
    "ema": ("MODEL.REZSL.USE", "True", "MODEL.REZSL.WEIGHT_TYPE", "ema"),
    "focal_r": ("MODEL.REZSL.USE", "False", "MODEL.LOSS.REWEIGHT", "focal_r"),
    "lds": ("MODEL.REZSL.USE", "False", "MODEL.LOSS.REWEIGHT", "lds", "MODEL.LOSS.LDS_REWEIGHT", "sqrt_inv"),
}
FIGURES = {  # name in the table, with the kind of error: (field, factor, digits)
    "T1": ("T1", 100, 1),
    "val H": ("val H", 100, 1),  # under TEST.PROTOCOL val
    "oracle H": ("oracle H", 100, 1),  # under test
    "AUSUC": ("AUSUC", 100, 1),
    "{} error, mean x1e3": ("error_mean", 1e3, 2),
    "{} error, std x1e3": ("error_std", 1e3, 2),
    "correlation with {} error": ("pearson_class", 1, 3),
    "gradient share %": ("gradient_share", 100, 1),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` and returns the exit status: 0, 1 (an error told in one line) or 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", metavar="FILE", required=True, help="YAML experiment")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS)[:3], metavar="ARM", help=", ".join(ARMS))
    parser.add_argument("--lambda1", nargs="+", type=float, required=True, metavar="X", help="MODEL.LOSS.LAMBDA1")
    parser.add_argument("--seeds", nargs="+", required=True, metavar="N")
    parser.add_argument("--error", choices=ERROR_KINDS, default=ERROR_KINDS[0], help="of each attribute (%(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys that go before the file")
    args = parser.parse_intermixed_args(argv)
    return run_command(lambda: study(args), goes_on="the same command goes on with what is missing")


def study(args: argparse.Namespace) -> None:
    """Trains what is missing and writes ``study.txt``, ``.csv`` and ``.md`` to OUTPUT_DIR."""
    seeds, overrides = leading_seeds(args.seeds)
    overrides += args.overrides
    cfg = load_config(args.config_file, overrides)
    output, names = Path(cfg.OUTPUT_DIR), figure_names(cfg.TEST.PROTOCOL)
    rows = []
    for lambda1 in args.lambda1:
        first = None
        for arm in args.arms:
            folder = output / f"{arm}_{lambda1:g}"
            options = [*ARMS[arm], "MODEL.LOSS.LAMBDA1", str(lambda1), "OUTPUT_DIR", str(folder)]
            results = run_seeds(args.config_file, [*overrides, *options], seeds)
            folders = [folder / f"seed_{seed}" for seed in seeds]
            runs = [_measures(*run, args.error) for run in zip(folders, results, strict=True)]
            first = first or runs
            rows.append([f"{lambda1:g}", arm, *(_cell(name, runs, first) for name in names)])
    table = Table(["LAMBDA1", "arm", *headings(cfg.TEST.PROTOCOL, args.error)], rows)
    table.save(output / "study")
    log.info("\n%s\n\n%d seeds; mean ± 95 %% t-interval; in brackets the", table.text(), len(seeds))
    log.info("paired difference from %s, which the seeds show where it is starred", args.arms[0])


def figure_names(protocol: str) -> list[str]:
    """Returns what the table tells under TEST.PROTOCOL ``val`` or ``test``: H of the row that it is for."""
    other = {"val": "oracle H", "test": "val H"}[protocol]
    return [name for name in FIGURES if name != other]


def headings(protocol: str, error: str) -> list[str]:
    """Returns what heads their columns, where errors are of the kind ``error``."""
    return [name.format(error) for name in figure_names(protocol)]


def _measures(folder: Path, results: dict, error: str) -> dict[str, float]:
    """The figures of one run: accuracies, imbalance over all classes, mean gradient share of the regression."""
    imbalance = summarise(error_table(Predictions.load(folder / "predictions.npz"), error))["all"]
    share = fmean(line["gradient_share"]["regression"] for line in read_history(folder))
    return {**figures_of(results), **vars(imbalance), "gradient_share": share}


def _cell(name: str, runs: list[dict[str, float]], first: list[dict[str, float]]) -> str:
    field, factor, digits = FIGURES[name]
    if any(field not in run for run in (*runs, *first)):  # of plain zero-shot learning there is T1 alone
        return "-"
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

"""Shows how unevenly errors fall on attributes and classes, in one or several runs, and against other runs.

python tools/analyze.py runs/demo --output runs/demo/analysis
python tools/analyze.py runs/remse_1 runs/remse_2 --against runs/mse_1 runs/mse_2 --output runs/remse_against_mse

A run is a folder with predictions.npz; no model is needed. Errors are squared, as in the published code, or absolute.
With --against the first run is compared with the first, the second with the second: differences are RUN - AGAINST, so
what RUN has less of is below 0.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from REZSL.evaluation import ErrorTable, Predictions, compare, error_table, summarise
from REZSL.evaluation.analysis import ERROR_KINDS, difference_of_data
from REZSL.report import (
    attribute_table,
    class_table,
    comparison_table,
    draw_analysis,
    error_matrix,
    format_notes,
    read_attribute_names,
    summary_table,
)
from REZSL.utils.command import run_command
from REZSL.utils.errors import ConfigError, DataError, first_line
from REZSL.utils.files import write_text

log = logging.getLogger("REZSL.analyze")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` and returns the exit status: 0, 1 (an error told in one line) or 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder with predictions.npz")
    parser.add_argument("--against", nargs="+", default=[], metavar="RUN", help="runs to compare with, in this order")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where tables and figures go")
    parser.add_argument("--error", choices=ERROR_KINDS, default=ERROR_KINDS[0], help="of each attribute (%(default)s)")
    parser.add_argument("--attribute-names", metavar="FILE", help="one name a line")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (%(default)s)")
    parser.add_argument("--labels", nargs=2, default=("run", "against"), metavar="NAME", help="what figures call them")
    args = parser.parse_args(argv)
    return run_command(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Writes what ``args`` ask for to ``args.output``, and logs the tables."""
    if args.against and len(args.against) != len(args.runs):
        raise ConfigError(f"{len(args.runs)} runs --against {len(args.against)}: they are paired by order")
    if args.resamples < 1:
        raise ConfigError(f"--resamples is {args.resamples}, expected 1 or more")
    _check_seeds(args.runs, args.against)
    predictions = {folder: _load(folder) for folder in [*args.runs, *args.against]}
    tables = {folder: _table(folder, one, args.error) for folder, one in predictions.items()}
    ours, theirs = [[tables[folder] for folder in folders] for folders in (args.runs, args.against)]
    for folder, table in tables.items():
        if reason := difference_of_data(ours[0], table):
            raise DataError(f"{folder} was not tested on the data of {args.runs[0]}: {reason}")
    names = None
    if args.attribute_names:
        names = read_attribute_names(args.attribute_names, ours[0].error.shape[1])

    output = Path(args.output)
    log.info("the %s error of each attribute, normalised\n%s", args.error, format_notes())
    for name, folders, of_runs in (("summary", args.runs, ours), ("summary_against", args.against, theirs)):
        if of_runs:
            summary = summary_table(folders, [summarise(table) for table in of_runs], args.error)
            summary.save(output / name)
            log.info("\n%s", summary.text())
    if args.against:
        log.info("\nresampling %s %d times", "pairs" if len(ours) > 1 else "images", args.resamples)
        pairs = [[predictions[folder] for folder in folders] for folders in (args.runs, args.against)]
        comparison = comparison_table(compare(*pairs, args.error, resamples=args.resamples), args.error)
        comparison.save(output / "comparison")
        log.info("\n%s\nlow, high: 95 %% bootstrap interval of the mean of run - against", comparison.text())
    _write_details(output, ours, theirs, names)
    draw_analysis(output / "figures", ours, theirs, names, tuple(args.labels))
    log.info("\nall files are in %s", output)


def _write_details(
    output: Path, ours: list[ErrorTable], theirs: list[ErrorTable], names: tuple[str, ...] | None
) -> None:
    write_text(output / "attributes.csv", attribute_table(ours, theirs, names).csv())
    write_text(output / "classes.csv", class_table(ours, theirs).csv())
    write_text(output / "errors.csv", error_matrix(ours, names).csv())
    if theirs:
        write_text(output / "errors_against.csv", error_matrix(theirs, names).csv())


def _load(folder: str) -> Predictions:
    path = Path(folder) / "predictions.npz"
    if not path.is_file():
        raise DataError(f"{folder} is no run: it has no predictions.npz")
    return Predictions.load(path)


def _table(folder: str, predictions: Predictions, kind: str) -> ErrorTable:
    try:
        return error_table(predictions, kind)
    except DataError as error:
        raise DataError(f"{Path(folder) / 'predictions.npz'}: {error}") from None


def _check_seeds(runs: Sequence[str], against: Sequence[str]) -> None:
    """Pairs must be of one seed, where both runs say theirs."""
    for a, b in zip(runs, against, strict=False):
        seeds = [_seed(folder) for folder in (a, b)]
        if None not in seeds and seeds[0] != seeds[1]:
            raise DataError(f"{a} has seed {seeds[0]} and {b}, its pair, has {seeds[1]}: put them in the same order")


def _seed(folder: str) -> int | None:
    path = Path(folder) / "results.json"
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("seed")
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path} holds no results: {first_line(error)}") from None


if __name__ == "__main__":
    sys.exit(main())

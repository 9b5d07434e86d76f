"""Shows how unevenly errors fall on attributes and classes, in one or several runs, and against other runs.

python tools/analyze.py runs/demo --output runs/demo/analysis
python tools/analyze.py runs/remse_1 runs/remse_2 --against runs/mse_1 runs/mse_2 --output runs/remse_against_mse

A run is a folder with predictions.npz; no model is needed. Errors are squared, as in the published code, or absolute.
With --against the first run is compared with the first, the second with the second: differences are RUN - AGAINST, so
what RUN has less of is below 0. The interval of a single pair is a bootstrap over its test images, that of several
pairs Student's over pairs.
"""

import argparse
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from REZSL.evaluation import ErrorTable, Predictions, compare, error_table, summarise
from REZSL.evaluation.analysis import ERROR_KINDS, difference_of_data
from REZSL.evaluation.comparison import INTERVALS
from REZSL.report import (
    attribute_table,
    class_table,
    comparison_table,
    draw_analysis,
    error_matrix,
    format_notes,
    read_attribute_names,
    read_seed,
    read_sound,
    summary_table,
)
from REZSL.utils.command import run_command
from REZSL.utils.errors import ConfigError, DataError, raise_all
from REZSL.utils.files import write_text

log = logging.getLogger("REZSL.analyze")

MOST_RESAMPLES = 1_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` and returns the exit status: 0, 1 (an error told in one line) or 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder with predictions.npz")
    parser.add_argument("--against", nargs="+", default=[], metavar="RUN", help="runs to compare with, in this order")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where tables and figures go")
    parser.add_argument("--error", choices=ERROR_KINDS, default=ERROR_KINDS[0], help="of each attribute (%(default)s)")
    parser.add_argument("--attribute-names", metavar="FILE", help="one name a line")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap of a single pair (%(default)s)")
    parser.add_argument("--labels", nargs=2, default=("run", "against"), metavar="NAME", help="what figures call them")
    args = parser.parse_args(argv)
    return run_command(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Writes what ``args`` ask for to ``args.output``, and logs the tables.

    Raises:
        DataError: runs that cannot be read; what the others, and pairs of others, show is there.
    """
    if args.against and len(args.against) != len(args.runs):
        raise ConfigError(f"{len(args.runs)} runs --against {len(args.against)}: they are paired by order")
    if not 1 <= args.resamples <= MOST_RESAMPLES:
        raise ConfigError(f"--resamples is {args.resamples}, expected 1 to {MOST_RESAMPLES:,}")
    folders = dict.fromkeys([*args.runs, *args.against])
    loaded, errors = read_sound(lambda folder: (folder, _load(folder), read_seed(folder)), list(folders))
    predictions = {folder: one for folder, one, _ in loaded}
    runs, against = _complete(args.runs, args.against, predictions)
    if not runs:
        raise_all(errors)
    _check_seeds(runs, against, {folder: seed for folder, _, seed in loaded})
    tables = {folder: error_table(predictions[folder], args.error) for folder in [*runs, *against]}
    ours, theirs = [[tables[folder] for folder in part] for part in (runs, against)]
    for folder, table in tables.items():
        if reason := difference_of_data(ours[0], table):
            raise DataError(f"{folder} was not tested on the data of {runs[0]}: {reason}")
    names = None
    if args.attribute_names:
        names = read_attribute_names(args.attribute_names, ours[0].error.shape[1])

    output = Path(args.output)
    log.info("the %s error of each attribute, normalised\n%s", args.error, format_notes())
    for name, folders, of_runs in (("summary", runs, ours), ("summary_against", against, theirs)):
        if of_runs:
            summary = summary_table(folders, [summarise(table) for table in of_runs], args.error)
            summary.save(output / name)
            log.info("\n%s", summary.text())
    if against:
        if len(runs) == 1:
            log.info("\nresampling images %d times", args.resamples)
        pairs = [[predictions[folder] for folder in part] for part in (runs, against)]
        comparison = comparison_table(compare(*pairs, args.error, resamples=args.resamples), args.error)
        comparison.save(output / "comparison")
        log.info(
            "\n%s\nlow, high: 95 %% interval of the mean of run - against: %s",
            comparison.text(),
            INTERVALS[len(runs) > 1],
        )
    _write_details(output, ours, theirs, names)
    draw_analysis(output / "figures", ours, theirs, names, tuple(args.labels))
    log.info("\nall files are in %s", output)
    raise_all(errors)


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


def _complete(runs: Sequence[str], against: Sequence[str], sound: Collection[str]) -> tuple[list[str], list[str]]:
    """The runs that are ``sound``, without those whose pair is not."""
    kept = [n for n, run in enumerate(runs) if run in sound and (not against or against[n] in sound)]
    return [runs[n] for n in kept], [against[n] for n in kept if against]


def _check_seeds(runs: Sequence[str], against: Sequence[str], seeds: Mapping[str, int | None]) -> None:
    """Pairs must be of one seed, where both runs say theirs."""
    for a, b in zip(runs, against, strict=False):
        if None not in (seeds[a], seeds[b]) and seeds[a] != seeds[b]:
            raise DataError(f"{a} has seed {seeds[a]} and {b}, its pair, has {seeds[b]}: put them in the same order")


if __name__ == "__main__":
    sys.exit(main())

"""Writes one HTML page about one or several runs: results, curves, training, classes, confusion, errors, configuration.

python tools/report.py runs/demo
python tools/report.py runs/mse_1 runs/remse_1 --output runs/mse_and_remse.html

A run is a folder with results.json; what else it holds is shown (metrics.jsonl, config.yaml, predictions.npz). The page
needs nothing but itself: it opens without a network and can be sent as it is.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from REZSL.report import read_sound_runs, write_page
from REZSL.utils.command import run_command
from REZSL.utils.errors import ConfigError, raise_all

log = logging.getLogger("REZSL.report")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` and returns the exit status: 0, 1 (an error told in one line) or 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder with results.json")
    parser.add_argument("--output", metavar="FILE", help="the page (report.html in the first RUN)")
    args = parser.parse_args(argv)
    return run_command(lambda: report(args.runs, args.output))


def report(runs: Sequence[str], output: str | None = None) -> None:
    """Writes the page about the folders ``runs`` to ``output``, by default ``report.html`` in the first.

    Raises:
        DataError: runs that cannot be read; the page, about the others, is there.
    """
    path = Path(output or Path(runs[0]) / "report.html")
    if path.suffix not in (".html", ".htm"):
        raise ConfigError(f"--output is {output}, expected a name that ends in .html")
    sound, errors = read_sound_runs(runs)
    write_page(path, sound)
    log.info("the page is %s", path)
    raise_all(errors)


if __name__ == "__main__":
    sys.exit(main())

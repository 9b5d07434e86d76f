"""Measures REZSL against the plain form of the same computation, in the same run.

python tools/benchmark.py remse [--json FILE]
python tools/benchmark.py eval [--json FILE]
python tools/benchmark.py head [--json FILE]
python tools/benchmark.py data [--root FOLDER] [--json FILE]
python tools/benchmark.py step [--json FILE]
python tools/benchmark.py train [--config-file FILE] [--json FILE] [KEY VALUE ...]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from benchmarks.data import benchmark_data
from benchmarks.evaluation import benchmark_eval
from benchmarks.head import benchmark_head
from benchmarks.remse import benchmark_remse
from benchmarks.step import benchmark_step
from benchmarks.training import benchmark_train

from REZSL.utils.files import write_text

WHAT = {
    "remse": (benchmark_remse, "update and weights of a batch of 32 images"),
    "eval": (benchmark_eval, "a GZSL evaluation from scores"),
    "head": (benchmark_head, "a step of AttentionNet"),
    "data": (benchmark_data, "loading photographs on one core"),
    "step": (benchmark_step, "a training step and its parts"),
    "train": (benchmark_train, "epochs of a frozen backbone, its tokens kept or not"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WHAT, help="; ".join(f"{name}: {text}" for name, (_, text) in WHAT.items()))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=15, help="timings per figure (default 15)")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="data: photographs to use (default: the demo's)")
    parser.add_argument("--config-file", metavar="FILE", help="train: an experiment (default: the demo, frozen)")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="train: config keys that go before the file")
    args = parser.parse_intermixed_args(argv)
    own = {"data": {"root"}, "train": {"config_file", "overrides"}}.get(args.what, set())
    for name in ("root", "config_file", "overrides"):
        if getattr(args, name) and name not in own:
            parser.error(f"{args.what} takes no {name}")
    torch.manual_seed(0)
    call = WHAT[args.what][0]
    if args.what == "train":
        figures = call(args.config_file, args.overrides)
    else:
        figures = call(args.repeats, args.root) if args.what == "data" else call(args.repeats)
    if args.json:
        write_text(args.json, json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Checks the data that a run with a config would read, and tells everything that is wrong with them at once.

python tools/check_data.py --config-file config/BasicNet/cub_features_BasicNet.yaml [KEY VALUE ...]

Levels: ok; note, worth knowing; warning, a run goes on but look at it; error, a run stops or its results are wrong.
The exit status is 1 with errors, with --strict also with warnings, else 0.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict

from yacs.config import CfgNode

from REZSL.config import load_config
from REZSL.data import Finding, check_data
from REZSL.report import Table, write_json
from REZSL.utils.command import run_command

log = logging.getLogger("REZSL.check_data")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` and returns the exit status: 0, 1 (errors found, or one told in one line), 130."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", metavar="FILE", required=True, help="YAML experiment")
    parser.add_argument("--json", metavar="FILE", help="write the findings there too; - writes them alone, to stdout")
    parser.add_argument("--strict", action="store_true", help="exit status 1 for warnings too")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys that go before the file")
    args = parser.parse_intermixed_args(argv)
    findings: list[Finding] = []
    status = run_command(lambda: findings.extend(run(args)))
    failing = ("error", "warning") if args.strict else ("error",)
    return status or int(any(finding.level in failing for finding in findings))


def run(args: argparse.Namespace) -> list[Finding]:
    """Checks what ``args`` name, tells the findings and returns them."""
    if args.json == "-":
        logging.getLogger("REZSL").setLevel(logging.WARNING)  # stdout is for JSON alone
    cfg = load_config(args.config_file, args.overrides)
    findings = check_data(cfg)
    content = _content(cfg, findings)
    if args.json == "-":
        print(json.dumps(content, indent=2))
        return findings
    table = Table(("level", "check", "finding"), [(f.level, f.check, f.message) for f in findings])
    counts = ", ".join(f"{level} {content[level]}" for level in ("errors", "warnings", "notes"))
    log.info("%s\n\n%s: %s", table.text(), cfg.DATASETS.NAME, counts)
    if args.json:
        write_json(args.json, content)
    return findings


def _content(cfg: CfgNode, findings: Sequence[Finding]) -> dict:
    counts = {f"{level}s": sum(f.level == level for f in findings) for level in ("error", "warning", "note")}
    return {"dataset": cfg.DATASETS.NAME, **counts, "findings": [asdict(finding) for finding in findings]}


if __name__ == "__main__":
    sys.exit(main())

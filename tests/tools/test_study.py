"""The study of regression weights, on a few tiny features."""

import csv
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import study
import train
import yaml
from stand_ins import REPOSITORY

from REZSL.evaluation import Predictions, error_table, summarise

pytestmark = pytest.mark.long

ERRORS = ["{} error, mean x1e3", "{} error, std x1e3", "correlation with {} error"]
FIGURES = ["T1", "oracle H", "AUSUC", *ERRORS, "gradient share %"]


@pytest.fixture
def command(tiny, tmp_path, monkeypatch):
    """``command("mse in_batch", "0.5 20", "1 2")`` runs the study and returns its exit status and table."""
    monkeypatch.setattr(train, "draw_run", lambda *arguments: None)
    tiny.write()
    experiment = tmp_path / "experiment.yaml"
    base = {
        "MODEL": {"DEVICE": "cpu", "BACKBONE": {"TYPE": "features"}, "REZSL": {"P": 1.0, "P2": 1.0}},
        "DATASETS": {"NAME": "TINY", "ROOT": str(tiny.root), "INPUT": "features", "WAYS": 2, "SHOTS": 2},
        "DATALOADER": {"MODE": "episode", "NUM_WORKERS": 0},
        "SOLVER": {"MAX_EPOCH": 2, "BASE_LR": 0.05},
        "OUTPUT_DIR": str(tmp_path / "study"),
    }
    experiment.write_text(yaml.safe_dump(base))

    def command(arms, lambdas, seeds, *overrides):
        words = ["--config-file", str(experiment), "--arms", *arms.split(), "--lambda1", *lambdas.split()]
        status = study.main([*words, "--seeds", *seeds.split(), *overrides])
        path = tmp_path / "study" / "study.csv"
        return status, list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []

    return command


def measured(folder: Path, error: str) -> list[float]:
    """A run's figures from its files, in the order and units of the table."""
    results = json.loads((folder / "results.json").read_text())
    errors = summarise(error_table(Predictions.load(folder / "predictions.npz"), error))["all"]
    shares = [json.loads(line)["gradient_share"]["regression"] for line in (folder / "metrics.jsonl").open()]
    accuracies = (100 * results[name] for name in ("T1", "AUSUC"))
    t1, ausuc = accuracies
    imbalance = [1e3 * errors.error_mean, 1e3 * errors.error_std, errors.pearson_class]
    return [t1, 100 * results["gzsl"]["oracle"]["H"], ausuc, *imbalance, 100 * np.mean(shares)]


@pytest.mark.parametrize(("error", "option"), [("squared", ()), ("absolute", ("--error", "absolute"))])
def test_the_table_says_what_the_runs_did(command, tmp_path, error, option):
    status, rows = command("mse in_batch", "0.5 20", "3 4 5", *option)
    assert status == 0
    assert [(row["LAMBDA1"], row["arm"]) for row in rows] == [
        ("0.5", "mse"), ("0.5", "in_batch"), ("20", "mse"), ("20", "in_batch"),
    ]  # fmt: skip
    for row in rows:
        arms = {
            arm: np.array(
                [measured(tmp_path / "study" / f"{arm}_{row['LAMBDA1']}" / f"seed_{n}", error) for n in (3, 4, 5)]
            )
            for arm in ("mse", row["arm"])
        }
        for values, base, name in zip(arms[row["arm"]].T, arms["mse"].T, FIGURES, strict=True):
            name = name.format(error)
            numbers = row[name].replace("(", "").replace(")", "").replace("*", "").replace("±", "").split()
            expected = [values.mean(), half_width(values)]
            if row["arm"] != "mse" and name != "gradient share %":
                expected += [(values - base).mean(), half_width(values - base)]
                assert ("*" in row[name]) == (abs(expected[2]) > expected[3])
            assert list(map(float, numbers)) == pytest.approx(expected, abs=0.06)


def half_width(values):
    return scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)


def test_arms_differ_in_the_weights_alone(command, tmp_path):
    command(" ".join(study.ARMS), "2", "1")
    configs = {arm: yaml.safe_load((tmp_path / f"study/{arm}_2/seed_1/config.yaml").read_text()) for arm in study.ARMS}
    seen = {
        arm: (c["MODEL"]["REZSL"]["USE"], c["MODEL"]["REZSL"]["WEIGHT_TYPE"], c["MODEL"]["LOSS"]["REWEIGHT"])
        for arm, c in configs.items()
    }
    assert seen == {
        "mse": (False, "in_batch", "none"),
        "in_batch": (True, "in_batch", "none"),
        "cross_batch": (True, "cross_batch", "none"),
        "ema": (True, "ema", "none"),
        "focal_r": (False, "in_batch", "focal_r"),
        "lds": (False, "in_batch", "lds"),
    }
    assert configs["lds"]["MODEL"]["LOSS"]["LDS_REWEIGHT"] == "sqrt_inv"
    for config in configs.values():
        del config["OUTPUT_DIR"], config["MODEL"]["REZSL"], config["MODEL"]["LOSS"]["REWEIGHT"]
    assert all(config == configs["mse"] for config in configs.values())


def test_it_goes_on_with_what_is_missing(command, tmp_path, monkeypatch, capsys):
    _, whole = command("mse in_batch", "2", "1 2")
    for path in (tmp_path / "study" / "in_batch_2" / "seed_2").glob("results.json"):
        path.unlink()
    (tmp_path / "study" / "study.csv").unlink()
    trained = []
    original = train._train
    monkeypatch.setattr(train, "_train", lambda cfg, *rest: trained.append(cfg.SEED) or original(cfg, *rest))
    assert command("mse in_batch", "2", "1 2") == (0, whole)
    assert trained == [2]


def test_under_the_honest_protocol_h_is_that_of_its_row(command, tmp_path):
    status, (row,) = command("mse", "2", "1", "TEST.PROTOCOL", "val", "SOLVER.BASE_LR", "0.3")
    assert status == 0
    rows = json.loads((tmp_path / "study" / "mse_2" / "seed_1" / "results.json").read_text())["gzsl"]
    assert rows["val"]["H"] != rows["oracle"]["H"]
    assert float(row["val H"].split()[0]) == pytest.approx(100 * rows["val"]["H"], abs=0.051)
    assert "oracle H" not in row and "H" not in row


def test_readme_holds_its_tables():
    """A study that the README reports is a table that the command above it writes."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    studies = re.findall(r"^python tools/study.py (.*)\n```\n\n(.*)$", readme, re.M)
    assert len(studies) == readme.count("python tools/study.py")
    for command, header in studies:
        (error,) = re.findall(r"--error (\w+)", command) or ["squared"]
        table = study.Table(["LAMBDA1", "arm", *study.headings("test", error)], [["0", "mse", *["-"] * 7]])
        assert table.markdown().splitlines()[0] == header


def test_every_h_of_the_readme_has_its_row():
    """A column of H says whose it is, but for a table that has a column of rows."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    headers = [above for above, rule in itertools.pairwise(readme.splitlines()) if re.match(r"\|[ :-]*---", rule)]
    assert len(headers) > 8
    for cells in (line.strip("|").split("|") for line in headers):
        assert not {"U", "S", "H"} & {cell.strip() for cell in cells}

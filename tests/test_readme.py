"""Every command and every example of the README runs."""

import importlib.util
import re
import shlex
from pathlib import Path

import benchmarks.data
import benchmarks.evaluation
import benchmarks.head
import benchmarks.remse
import benchmarks.step
import pytest
import torch
import train
from stand_ins import REPOSITORY, TinyData
from torch import nn

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines() if line.strip()
]
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)
SMALL = {  # what makes a command quick and keeps it to stand-in data
    "DATASETS.IMAGE_SIZE": "32",
    "DATASETS.WAYS": "2",
    "DATALOADER.N_BATCH": "1",
    "DATALOADER.NUM_WORKERS": "0",
    "SOLVER.MAX_EPOCH": "1",
    "MODEL.BACKBONE.PRETRAINED": "False",
}


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder laid out like a fresh clone with stand-in data in ``Dataset``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    TinyData(tmp_path / "Dataset", "CUB", 312).write().write_images().write_embeddings(300)
    TinyData(tmp_path / "Dataset", "DEMO", 24).write().write_images().write_embeddings(300)
    return tmp_path


def test_ci_runs_the_readmes_test_line():
    """The line is taken from the README, the first that names pytest."""
    assert "grep -m 1 'pytest' README.md" in (REPOSITORY / ".ci" / "run").read_text()
    assert next(line for line in README.splitlines() if "pytest" in line) in COMMANDS


def test_readme_has_two_newcomers_commands():
    installs = [command for command in COMMANDS if "pip install" in command]
    assert [command.split(" && ")[-1].split()[1:3] for command in installs] == [
        ["tools/train.py", "--config-file"],
        ["-m", "pytest"],
    ]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:\]\(|`)((?:config|assets|REZSL|tools)/[\w./-]*)", README))))
def test_readme_paths_exist(path):
    assert (REPOSITORY / path).exists()


@pytest.mark.long
def test_readme_tool_commands_run(workplace, monkeypatch):
    """In the README's order, since a later command uses an earlier one's run."""
    monkeypatch.setattr(train, "draw_run", lambda *arguments: None)  # for the study, whose runs are many
    monkeypatch.setattr(benchmarks.remse, "SIZES", {"CUB": (32, 5)})
    monkeypatch.setattr(benchmarks.evaluation, "TEST_SIZES", {"CUB": (60, 6, 4)})
    monkeypatch.setattr(benchmarks.data, "IMAGES", 2)
    monkeypatch.setattr(benchmarks.data, "SIZE", 32)
    monkeypatch.setattr(benchmarks.data, "LONG_SIDE", 60)  # small enough to be decoded whole
    monkeypatch.setattr(benchmarks.head, "SIZES", {"small": (2, 9, 64, 5, 16, 8)})
    monkeypatch.setattr(benchmarks.step, "MODELS", {"cpu": [("resnet18", "resnet", 32, 16)]})
    small_train = [word for pair in (SMALL | {"SOLVER.MAX_EPOCH": "3"}).items() for word in pair]
    ran = []
    for command in COMMANDS:
        words = shlex.split(command.split(" && ")[-1])
        while "=" in words[0]:  # CUDA_VISIBLE_DEVICES=0
            words.pop(0)
        if words[0] == "torchrun":  # test_train_together starts several processes; here its command in one
            words = ["python", *words[words.index("tools/train.py") :]]
        if words[0] != "python" or not words[1].startswith("tools/"):
            continue
        name, given = Path(words[1]).stem, [word for word in words[2:] if word not in tuple("2345")]  # one seed does
        extra = {
            "train": [word for key, value in SMALL.items() if key not in given for word in (key, value)],
            "analyze": ["--resamples", "5"],
            "benchmark": small_train if "train" in given else ["--repeats", "2"],
            "study": [word for pair in SMALL.items() for word in pair],
            "summarize": [],
            "check_data": ["DATASETS.WAYS", "2"],
            "report": [],
            "torture": ["--only", "a_damaged_image"],
        }[name]
        assert load_tool(name).main([*given, *extra]) == 0, command
        ran.append(name)
    assert len(ran) == sum(" tools/" in command for command in COMMANDS)
    assert set(ran) == {path.stem for path in (REPOSITORY / "tools").glob("*.py")}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.split("import ")[-1].split("\n")[0])
def test_readme_examples_run(example, capsys):
    """With the names that an example leaves to its reader: a model, an optimiser, a loader."""
    model = nn.Linear(8, 5)
    model.forward = lambda x: nn.functional.linear(x, model.weight, model.bias)
    batches = [(torch.rand(6, 8), torch.rand(6, 5), torch.randint(3, (6,))) for _ in range(4)]
    before = model.weight.detach().clone()
    names = {
        "RegNorm": True,
        "device": "cpu",
        "reg_label_dim": 5,
        "scls_num": 3,
        "cls_num": 4,
        "tr_dataloader": batches,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }
    exec(compile(example, "README.md", "exec"), names)
    if "tr_dataloader" in example:
        assert not torch.equal(before, model.weight)
    if "loss" in names:
        assert torch.isfinite(names["loss"])
    printed = capsys.readouterr().out
    if "evaluate_gzsl" in example:
        assert "Row(gamma=" in printed
    if "error_per_output" in example:
        before, after = ([float(word) for word in re.findall(r"\d\.\d+", line)] for line in printed.splitlines())
        assert len(before) == len(after) == 5
        assert max(after) < max(before)

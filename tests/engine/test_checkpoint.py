"""Checkpoints: whole or not at all, nothing executed, errors that name the file."""

import pickle

import pytest
import torch
from torch import nn

from REZSL.engine import load_checkpoint, load_model_state, newest_checkpoint, save_checkpoint
from REZSL.utils.errors import DataError, RunError


def test_round_trip(tmp_path):
    path = tmp_path / "made" / "last.pth"
    save_checkpoint(path, model={"w": torch.arange(3)}, epoch=4, config="A: 1\n", nested=[(1, None), {"x": 0.5}])
    content = load_checkpoint(path)
    assert torch.equal(content.pop("model")["w"], torch.arange(3))
    assert content == {"epoch": 4, "config": "A: 1\n", "nested": [(1, None), {"x": 0.5}]}


@pytest.mark.parametrize("old", [True, False])
def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, old):
    path = tmp_path / "last.pth"
    if old:
        save_checkpoint(path, model={}, epoch=1)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(path, model={"w": torch.zeros(9)}, unfit=lambda: None)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    torch.save({"model": Malicious(tmp_path / "executed")}, tmp_path / "last.pth")
    with pytest.raises(DataError, match=r"last\.pth cannot be read"):
        load_checkpoint(tmp_path / "last.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "the checkpoint .*last.pth is missing"),
        (lambda path: (path.unlink(), path.mkdir()), "the checkpoint .*last.pth is a folder"),
        (lambda path: path.write_bytes(b""), "the checkpoint .*last.pth cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "the checkpoint .*last.pth cannot be read"),
        (lambda path: path.write_text("text"), "the checkpoint .*last.pth cannot be read"),
        (lambda path: torch.save({"weight": torch.zeros(1)}, path), "last.pth is no checkpoint of a run: .*'model'"),
        (lambda path: torch.save(torch.zeros(1), path), "last.pth is no checkpoint of a run"),
    ],
    ids=["missing", "folder", "empty", "cut", "text", "state_dict", "tensor"],
)
def test_files_that_are_no_checkpoint(tmp_path, spoil, message):
    path = tmp_path / "last.pth"
    save_checkpoint(path, model={"w": torch.zeros(100)})
    spoil(path)
    with pytest.raises(DataError, match=message) as raised:
        load_checkpoint(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (nn.Linear(3, 3).state_dict(), r"weight of the file is \(3, 3\) float32, expected \(2, 3\) float32"),
        ({"weight": torch.zeros(2, 3)}, "the file has no 'bias'"),
        (nn.Sequential(nn.Linear(3, 2)).state_dict(), "the file has no 'weight'"),
        ({**nn.Linear(3, 2).state_dict(), "gaze": torch.zeros(1)}, "the file has 'gaze', which is not known here"),
        ({"weight": torch.zeros(2, 3), "bias": torch.tensor([0.0, float("nan")])}, "bias of the file has values that"),
        ({"weight": torch.zeros(2, 3), "bias": [0.0, 0.0]}, "bias of the file is no plain tensor"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2, dtype=torch.int64)}, r"\(2,\) int64, expected"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2, device="meta")}, "bias of the file is no plain tensor"),
        ("resnet50", "the file is of type str"),
    ],
    ids=["shape", "missing", "names", "unknown", "NaN", "list", "dtype", "meta", "text"],
)
def test_a_model_that_does_not_fit(state, problem):
    model = nn.Linear(3, 2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(DataError, match=f"the checkpoint runs/a.pth does not fit this config's model: .*{problem}"):
        load_model_state(model, state, "runs/a.pth")
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_the_model_takes_the_whole_state(dtype):
    source, model = nn.Linear(3, 2), nn.Linear(3, 2)
    load_model_state(model, {key: value.to(dtype) for key, value in source.state_dict().items()}, "a.pth")
    assert torch.equal(model.weight, source.weight.to(dtype).float())
    assert torch.equal(model.bias, source.bias.to(dtype).float())


def test_the_newest_whole_checkpoint_is_found(tmp_path):
    last = tmp_path / "last.pth"
    assert newest_checkpoint(last) is None
    for epoch in (1, 2, 3):
        save_checkpoint(last, keep=2, model={}, epoch=epoch)
    assert newest_checkpoint(last)["epoch"] == 3
    last.write_bytes(last.read_bytes()[:50])
    assert newest_checkpoint(last)["epoch"] == 2
    last.unlink()
    assert newest_checkpoint(last)["epoch"] == 2
    for path in tmp_path.glob("last-*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"last-1\.pth cannot be read"):
        newest_checkpoint(last)


def test_a_write_that_fails_leaves_every_checkpoint(tmp_path, monkeypatch):
    last = tmp_path / "last.pth"
    for epoch in (1, 2):
        save_checkpoint(last, keep=1, model={}, epoch=epoch)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(content, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match=r"cannot write .*last\.pth: No space left"):
        save_checkpoint(last, keep=1, model={}, epoch=3)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

"""Files of tensors as training tools leave them, and what is no such file."""

import argparse
import io
import logging
import pathlib
import pickle
import struct
import types
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from yacs.config import CfgNode

from REZSL.utils.errors import DataError
from REZSL.utils.torch_file import misfit, read_torch_file, unwrapped_state

STATE = {"conv.weight": torch.arange(6.0).view(2, 3), "conv.bias": torch.ones(2)}
OTHER = {"conv.weight": torch.zeros(2, 3), "conv.bias": torch.zeros(2)}


@pytest.fixture(params=["new", "old"])
def save(request, tmp_path):
    """A function that writes what it is given as torch does now, or as it did before 1.6."""

    def write(content, name="weights.pth"):
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=request.param == "new")
        return tmp_path / name

    return write


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def refusal(path, limit=300):
    with pytest.raises(DataError) as caught:
        unwrapped_state(read_torch_file(path), path)
    said = str(caught.value)
    assert said.startswith(str(path)) and len(said) < len(str(path)) + limit and len(said.splitlines()) == 1
    return said.removeprefix(f"{path} ")


def assert_states_equal(found, state):
    assert list(found) == list(state)
    for name, value in state.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)


# ---- wrappers and prefixes


WRAPPERS = "teacher student state_dict_ema model_state_dict net network backbone encoder ema params weights whatever"
PREFIXES = "model. backbone. encoder. net. module.encoder_q. base_encoder. _orig_mod. module.module. module._orig_mod."


@pytest.mark.parametrize("wrapper", WRAPPERS.split())
def test_a_wrapper_is_undone_and_told(save, caplog, wrapper):
    path = save({wrapper: STATE, "epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}})
    with caplog.at_level(logging.INFO, "REZSL"):
        assert_states_equal(unwrapped_state(read_torch_file(path), path), STATE)
    assert [record.getMessage() for record in caplog.records] == [f"{path}: taken its {wrapper!r}"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"state_dict": OTHER, "state_dict_ema": STATE}, "its 'state_dict_ema' (beside it: state_dict)"),
        ({"model": OTHER, "model_ema": STATE, "epoch": 2}, "its 'model_ema' (beside it: model)"),
        ({"student": OTHER, "teacher": STATE}, "its 'teacher' (beside it: student)"),
        ({"decoder": OTHER, "encoder": STATE}, "its 'encoder'"),
        ({"model": {"state_dict": STATE}}, None),
        ({"checkpoint": {"net": under("module.", STATE)}}, "its 'checkpoint', its 'net', names without 'module.'"),
        ({"state_dict": STATE, "queue": torch.ones(3)}, None),
        ({**STATE, "epoch": 3, "extra": {"a": torch.ones(1)}}, None),
        (STATE, None),
    ],
)
def test_of_several_wrappers_the_averaged_goes_first(save, caplog, content, told):
    path = save(content)
    with caplog.at_level(logging.INFO, "REZSL"):
        assert_states_equal(unwrapped_state(read_torch_file(path), path), STATE)
    assert [record.getMessage() for record in caplog.records] == ([f"{path}: taken {told}"] if told else [])


@pytest.mark.parametrize("prefix", PREFIXES.split())
def test_a_prefix_of_all_names_is_undone_and_told(save, caplog, prefix):
    path = save(under(prefix, STATE))
    with caplog.at_level(logging.INFO, "REZSL"):
        assert_states_equal(unwrapped_state(read_torch_file(path), path), STATE)
    assert caplog.records[0].getMessage().startswith(f"{path}: taken names without ")


def test_a_compiled_part_of_a_model_is_undone_and_a_prefix_of_some_names_stays(save):
    path = save({"model": {**under("backbone._orig_mod.", STATE), **under("head.", STATE)}})
    expected = {**under("backbone.", STATE), **under("head.", STATE)}
    assert_states_equal(unwrapped_state(read_torch_file(path), path), expected)


@pytest.mark.parametrize(
    "content", [[STATE["conv.bias"]], torch.zeros(1), {"a": 1}, {0: torch.zeros(1)}, {}, {"state_dict": {"a": 1}}]
)
def test_no_tensors_by_name(save, content):
    assert refusal(save(content)).startswith("holds no state_dict of tensors")


# ---- harmless things beside the tensors, and others


def test_harmless_objects_beside_the_tensors_are_read_as_nothing(save):
    beside = {
        "args": argparse.Namespace(lr=0.1, nested=argparse.Namespace(path=pathlib.Path("/nowhere"))),
        "epoch": np.int64(3),
        "best": np.float64(0.5),
        "random": np.random.get_state(),  # noqa: NPY002 - as training scripts keep it
        "dtype": np.dtype("f4"),
        "space": types.SimpleNamespace(a=1),
        "config": CfgNode({"A": 1, "B": CfgNode({"C": [2]})}),
    }
    content = read_torch_file(save({"state_dict": STATE, **beside}))
    assert_states_equal(unwrapped_state(content, "x"), STATE)
    assert content.keys() == {"state_dict", *beside}
    for key in ("args", "epoch", "best", "dtype", "space"):
        assert repr(content[key]).endswith("that is not read") and not isinstance(content[key], (float, int))


class Payload:
    """Unpickled, it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


class Evaluation(Payload):
    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("payload", [Payload, Evaluation])
def test_code_in_a_file_is_never_run(save, tmp_path, payload):
    executed = tmp_path / "executed"
    path = save({"state_dict": STATE, "args": argparse.Namespace(a=payload(executed))})
    assert "cannot be read" in refusal(path)
    assert not executed.exists()


def test_a_whole_network_is_told_by_its_class(save):
    assert refusal(save(nn.Linear(2, 2))) == (
        "cannot be read: it holds torch.nn.modules.linear.Linear, an object of a program: save the state_dict() alone"
    )


# ---- what is no torch file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read: it is empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page: the download gave it in place of the file"),
        (b"<HTML><body>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git-LFS pointer, not the file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
        (b"\x1f\x8b" + bytes(99), "is compressed by gzip: unpack it first"),
        (b"\x93NUMPY" + bytes(99), "is a NumPy array"),
        (b"no weights", "cannot be read: it is no torch file"),
        (pickle.dumps({"a": 1}), "cannot be read: it is a pickle, but no torch file"),
        (bytes(1000), "cannot be read: it is no torch file"),
        (pickle.PROTO + b"\x04" + pickle.BYTEARRAY8 + struct.pack("<Q", 2**40), "cannot be read: it is no torch file"),
        (b"PK\x03\x04" + bytes(99), "cannot be read: its archive is cut short or damaged"),
    ],
    ids=range(12),
)
def test_a_file_that_is_something_else_is_told(tmp_path, content, said):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert refusal(path).startswith(said)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_program_an_archive_and_a_folder_are_told(tmp_path):
    path = tmp_path / "weights.pth"
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))
    assert refusal(path).startswith("is a program of TorchScript (torch.jit.save), no weights: load it there")
    np.savez(tmp_path / "weights.npz", a=np.ones(3))
    assert refusal(tmp_path / "weights.npz").startswith("is a NumPy archive (.npz), not a torch file")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/weights.pth", b"x" * 999)
    assert refusal(path) == "is a zip archive, but no torch file: unpack it first"
    assert refusal(tmp_path) == "is a folder: name the file in it"
    assert refusal(tmp_path / "nowhere.pth") == "is missing"


# ---- damage


def rewritten(path, change):
    """Writes the archive ``path`` anew, with valid checksums, each member as ``change(name, content)`` says."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, change(name, content))


def new_file(tmp_path):
    torch.save({"a": torch.full((3,), 1.5)}, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_a_tensor_that_declares_more_than_the_file_has_takes_no_memory(tmp_path):
    path = new_file(tmp_path)
    huge = pickle.BININT + struct.pack("<i", 2**31 - 1)  # elements, in place of 3

    def change(name, content):
        return content.replace(b"K\x03tq", huge + b"tq", 1) if name.endswith("data.pkl") else content

    rewritten(path, change)
    assert refusal(path) == "is damaged: tensor 0 declares 8,589,934,588 bytes and has 12"
    path = new_file(tmp_path)
    rewritten(path, lambda name, content: content[:8] if name.endswith("data/0") else content)
    assert refusal(path) == "is damaged: tensor 0 declares 12 bytes and has 8"


@pytest.mark.parametrize("key", [True, False])
def test_tuples_in_one_another_do_not_end_the_process(tmp_path, key):
    """Python's hash of such a tuple runs off the stack."""
    path = new_file(tmp_path)
    deep = pickle.EMPTY_TUPLE + pickle.TUPLE1 * 300_000
    content = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + (deep + pickle.NONE if key else pickle.NONE + deep)
    content += pickle.SETITEM + pickle.STOP
    rewritten(path, lambda name, old: content if name.endswith("data.pkl") else old)
    assert refusal(path) == "cannot be read: more than 100 tuples in one another"


def test_dicts_that_hold_themselves_or_each_other_many_times_end():
    inner = {"a": torch.ones(1)}
    inner["model"] = inner
    assert list(unwrapped_state({"state_dict": inner}, "x")) == ["a"]
    empty: dict = {}
    for _ in range(6):
        empty = {f"key{n}": empty for n in range(1000)}
    with pytest.raises(DataError, match="x holds no state_dict of tensors"):
        unwrapped_state(empty, "x")


def test_an_old_file_that_declares_more_than_it_has_takes_no_memory(tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, buffer, _use_new_zipfile_serialization=False)
    huge = pickle.BININT + struct.pack("<i", 2**31 - 1)
    content = buffer.getvalue().replace(b"K\x03N", huge + b"N", 1)
    (tmp_path / "weights.pth").write_bytes(content)
    said = f"is damaged: its tensors declare 8,589,934,588 bytes, and the file has {len(content):,}"
    assert refusal(tmp_path / "weights.pth") == said


def test_a_flipped_bit_a_cut_end_and_compressed_members_are_found(tmp_path):
    path = new_file(tmp_path)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(struct.pack("<f", 1.5)) + 2] ^= 4
    path.write_bytes(damaged)
    assert refusal(path).startswith("is damaged: the checksum of weights/data/0 is wrong")
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path).startswith("cannot be read: its archive is cut short or damaged")
    path.write_bytes(whole)
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    assert refusal(path).startswith("has compressed members, which torch does not write")


@pytest.mark.parametrize("old", [False, True])
def test_any_changed_byte_is_read_or_told(tmp_path, old):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": STATE, "args": argparse.Namespace(a=1)}, path, _use_new_zipfile_serialization=not old)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            unwrapped_state(read_torch_file(path), path)
        except DataError as error:
            assert len(str(error)) < len(str(path)) + 400


# ---- safetensors


def safetensors(path, header, content=b"", length=None):
    text = header if isinstance(header, bytes) else repr(header).replace("'", '"').encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + content)
    return path


def test_a_safetensors_file_is_read_as_its_library_writes_it(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    types = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.bool,
    )
    state = {f"t.{n}": torch.arange(6).view(2, 3).to(dtype) for n, dtype in enumerate(types)}
    state |= {"scalar": torch.tensor(1.5), "empty": torch.zeros(0, 4), "u": torch.ones(3, dtype=torch.uint8)}
    library.save_file(state, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    found = read_torch_file(tmp_path / "model.safetensors")
    assert {name: (value.dtype, value.shape) for name, value in found.items()} == {
        name: (value.dtype, value.shape) for name, value in state.items()
    }
    assert all(torch.equal(found[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("header", "content", "said"),
    [
        (
            {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
            bytes(8),
            "4000000000000 bytes of",
        ),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(8), "bytes 4 to 12 of 8"),
        ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, bytes(8), "8 bytes for shape"),
        ({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, bytes(8), "shape"),
        ({"a": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}, bytes(8), "a tensor of type F8_E4M3"),
        ({n: {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for n in "ab"}, bytes(8), "16 bytes of tensors"),
        ({"a": {"dtype": "F32"}}, bytes(8), "data_offsets"),
        ({"a": 3}, bytes(8), ""),
        (b"{" * 50_000, bytes(8), ""),
        (b'{"a": ', bytes(8), ""),
    ],
    ids=range(10),
)
def test_a_damaged_safetensors_file_is_told(tmp_path, header, content, said):
    told = refusal(safetensors(tmp_path / "model.safetensors", header, content))
    assert told.startswith("is damaged: its header") and said in told


# ---- what does not fit


def test_misfits_are_told_by_number_and_an_example():
    wanted = {f"layer{n}.weight": torch.zeros(2) for n in range(1000)}
    assert misfit(wanted, wanted) is None
    assert misfit(wanted, {}) == "lacks 1000 tensors, e.g. layer0.weight"
    assert (
        misfit(wanted, {**wanted, "x" * 9999: torch.zeros(1)}) == f"has unknown 1 tensors, e.g. {'x' * 40}…{'x' * 39}"
    )
    assert misfit(wanted, {**wanted, "layer7.weight": torch.zeros(3)}) == "misshapes 1 tensors, e.g. layer7.weight"

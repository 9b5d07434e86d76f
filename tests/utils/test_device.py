from contextlib import nullcontext

import pytest
import torch

from REZSL.utils import distributed
from REZSL.utils.device import allow_tf32, check_precision, resolve_device, to_device
from REZSL.utils.errors import ConfigError


@pytest.fixture
def gpus(monkeypatch):
    """A function that lets torch see so many CUDA devices."""

    def see(number):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)

    return see


@pytest.mark.parametrize(
    ("number", "name", "device"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_device_by_name(gpus, number, name, device):
    gpus(number)
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize(("number", "name"), [(0, "cuda"), (0, "cuda:0"), (1, "cuda:1"), (2, "cuda:2")])
def test_a_device_that_is_not_there_is_an_error(gpus, number, name):
    gpus(number)
    said = f"MODEL.DEVICE is {name}, but torch sees {number} CUDA devices: set MODEL.DEVICE auto or cpu"
    with pytest.raises(ConfigError, match=said):
        resolve_device(name)


def test_devices_that_a_driver_counts_but_cannot_use(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="torch sees 0 CUDA devices"):
        resolve_device("cuda")


@pytest.mark.parametrize(
    ("where", "convolutions", "products"),
    [("always", True, True), ("never", False, False), ("convolutions", True, False)],
)
def test_tf32_is_allowed_where_told(where, convolutions, products):
    allow_tf32(where, torch.device("cuda:0"))
    assert torch.backends.cudnn.allow_tf32 is convolutions
    assert torch.backends.cuda.matmul.allow_tf32 is products
    allow_tf32("convolutions", torch.device("cpu"))  # as torch has it


def test_tf32_is_of_cuda_devices():
    with pytest.raises(ConfigError, match="TF32 is 'never', but that is a precision of CUDA devices, and this is cpu"):
        allow_tf32("never", torch.device("cpu"))


def test_an_apple_gpu_is_taken_where_torch_sees_one_and_it_is_asked_for(gpus, monkeypatch):
    gpus(0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("mps") == torch.device("mps")
    assert resolve_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="is mps, but torch sees no GPU of Apple's here: set MODEL"):
        resolve_device("mps")


@pytest.mark.parametrize(("device", "waits"), [("mps", True), ("cpu", True), ("cuda:1", False)])
def test_a_copy_is_waited_for_but_to_cuda(device, waits):
    class Recorded:
        def to(self, device, non_blocking):
            return device, non_blocking

    assert to_device(Recorded(), torch.device(device)) == (torch.device(device), not waits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_precisions_of_a_cpu(dtype):
    check_precision(dtype, torch.device("cpu"))


def refuse(*args, **kwargs):
    raise TypeError("BFloat16 is not supported on MPS\nand more")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("place", "name", "does", "said"),
    [
        (torch, "ones", refuse, "BFloat16 is not supported on MPS"),
        (torch, "autocast", lambda *args: nullcontext(), "it computes in torch.float32"),
        (torch.amp.GradScaler, "step", refuse, "BFloat16 is not supported on MPS"),
    ],
    ids=["no such numbers", "switched off in silence", "no kernel for the loss scaler"],
)
def test_a_precision_that_a_device_cannot_is_refused(monkeypatch, dtype, place, name, does, said):
    """As Apple's systems before 14 do without bfloat16, by an error or a warning; and the loss scaler by its own."""
    monkeypatch.setattr(place, name, does)
    with pytest.raises(ConfigError) as caught:
        check_precision(dtype, torch.device("cpu"))
    dtype = str(dtype).removeprefix("torch.")
    assert str(caught.value) == f"DTYPE is {dtype}, which cpu cannot ({said}): set DTYPE float32"


def test_an_apple_gpu_trains_in_one_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="is mps, but only CUDA devices and CPUs train in several"):
        distributed.start("mps")

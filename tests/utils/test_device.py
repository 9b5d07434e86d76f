import pytest
import torch

from REZSL.utils.device import allow_tf32, resolve_device
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

"""AttentionNet forward and backward, against the same head written plainly."""

import multiprocessing
import os
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from REZSL.modeling import AttentionNet

from .timing import interleaved, spread

SIZES = {  # images, tokens, token width, attributes, channel, hidden width
    "CUB, HID_DIM 0": (32, 196, 2048, 312, 1024, 0),
    "AWA2, HID_DIM 4096": (32, 196, 2048, 85, 1024, 4096),
}
EMBEDDING = 300
MIB = 2**20


def benchmark_head(repeats: int) -> dict:
    """Times one step of the head, and takes the peak of the memory it adds, each form in a process of its own."""
    print(f"cpu, {torch.get_num_threads()} threads, torch {torch.__version__}; median [quartiles] of {repeats}")
    figures = {}
    for name, sizes in SIZES.items():
        head, tokens = _make(sizes)
        forms = [partial(_step, head, form, tokens) for form in (plain_attributes, fused_attributes)]
        torch.testing.assert_close(*(form(head, tokens) for form in (plain_attributes, fused_attributes)))
        plain, fused = interleaved(forms, [1, 1], repeats)
        ratio = [a / b for a, b in zip(plain, fused, strict=True)]
        memory = [_peak(sizes, form) for form in ("plain_attributes", "fused_attributes")]
        gradients = sum(4 * x.numel() for x in (tokens, *head.parameters()))  # what any form leaves
        own = [peak - gradients for peak in memory]
        print(f"{name}: plain {spread(plain)} s, ours {spread(fused)} s, {spread(ratio)} times faster")
        for what, (a, b) in {"peak memory": memory, f"beyond the gradients' {gradients / MIB:.0f} MiB": own}.items():
            print(f"    {what}: plain {a / MIB:.0f} MiB, ours {b / MIB:.0f} MiB, {a / b:.1f} times less")
        figures[name] = {
            "plain_s": plain,
            "ours_s": fused,
            "ratio": ratio,
            "peak_bytes": memory,
            "gradients": gradients,
        }
    return figures


def fused_attributes(head: AttentionNet, tokens: Tensor) -> Tensor:
    """The head as it is."""
    return head(tokens).attributes


def plain_attributes(head: AttentionNet, tokens: Tensor) -> Tensor:
    """The same function of the same parameters, as it is usually written and as the published code has it.

    Queries are repeated for every image, keys and values made of every token, and z of every attribute of every image.
    """
    images, num_attributes = len(tokens), len(head.attribute_embeddings)
    queries = head.query(head.attribute_embeddings).unsqueeze(0).repeat(images, 1, 1)  # (B, K, M)
    keys, values = head.key(tokens), head.value(tokens)  # (B, N, M)
    attention = (queries @ keys.transpose(1, 2)).softmax(2)  # (B, K, N)
    attended = head.out(attention @ values)  # (B, K, D)
    joint = tokens.mean(1, keepdim=True).expand(-1, num_attributes, -1) + attended
    if head.hidden is not None:
        joint = head.hidden(joint)  # (B, K, hidden)
    return torch.einsum("bkd,kd->bk", joint, head.regressor)


def _make(sizes: tuple[int, ...]) -> tuple[AttentionNet, Tensor]:
    images, positions, dim, num_attributes, channel, hidden = sizes
    torch.manual_seed(0)
    head = AttentionNet(dim, 0.2 * torch.randn(num_attributes, EMBEDDING), channel, hidden)
    return head, (0.1 * torch.randn(images, positions, dim)).requires_grad_()


def _step(head: AttentionNet, form: object, tokens: Tensor) -> None:
    head.zero_grad(set_to_none=True)
    tokens.grad = None
    form(head, tokens).sum().backward()


def _peak(sizes: tuple[int, ...], form: str) -> int:
    """Bytes by which one step raises the memory of a fresh process above that of weights and tokens (on Linux).

    Large blocks go back to the system when they are freed: what glibc would keep for later is no memory of the form.
    """
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "131072"  # read by the process about to start
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_here, (sizes, form))


def _peak_here(sizes: tuple[int, ...], form: str) -> int:
    head, tokens = _make(sizes)
    small = tuple(min(size, 4) if size else 0 for size in sizes)
    warm, few = _make(small)
    _step(warm, globals()[form], few)  # what the first step of all loads is no memory of it
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    _step(head, globals()[form], tokens)
    return max(_status("VmHWM") - before, 1)


def _status(name: str) -> int:
    """A figure of Linux's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])

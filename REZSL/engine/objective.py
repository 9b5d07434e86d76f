"""What a training minimises: model and criterion as one module, and what each term contributes to its gradient."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from REZSL.utils.distributed import any_of_all, mean_of_all, world_size
from REZSL.utils.errors import RunError


class Objective(nn.Module):
    """A batch to the terms of its loss.

    Args:
        model: inputs to an output.
        criterion: ``(output, labels) -> terms``.
        dtype: precision of the model's forward pass; the criterion chooses its own.
    """

    def __init__(self, model: nn.Module, criterion: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model, self.criterion, self.dtype = model, criterion, dtype

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Returns the unweighted terms of ``inputs`` (B, ...) with ``labels`` (B,)."""
        with torch.autocast(inputs.device.type, self.dtype, enabled=self.dtype != torch.float32):
            output = self.model(inputs)
        return self.criterion(output, labels)


def in_all_processes(objective: Objective, device: torch.device, unused_parameters: bool) -> nn.Module:
    """``objective``, whose gradients are the mean over all processes where there are several."""
    if world_size() == 1:
        return objective
    devices = [torch.cuda.current_device()] if device.type == "cuda" else None
    return DistributedDataParallel(objective, device_ids=devices, find_unused_parameters=unused_parameters)


def gradient_shares(
    terms: dict[str, Tensor], total: Callable[[dict[str, Tensor]], Tensor], parameters: Iterable[nn.Parameter]
) -> dict[str, float]:
    """The norm of each weighted term's gradient, over all processes, divided by the sum of these norms.

    Args:
        terms: the unweighted terms, with their graph, which stays.
        total: terms to their weighted sum.
        parameters: of the model.
    """
    parameters = [p for p in parameters if p.requires_grad]
    norms = {}
    for name, term in terms.items():
        gradients = torch.autograd.grad(total({name: term}), parameters, retain_graph=True, allow_unused=True)
        norms[name] = torch.stack([mean_of_all(g.float()).norm() for g in gradients if g is not None]).norm().item()
    return {name: norm / max(sum(norms.values()), 1e-12) for name, norm in norms.items()}


def eager_where_compiled() -> torch.compiler.set_stance:
    """A context in which compiled modules run as written: compiled gradients can be taken only once."""
    return torch.compiler.set_stance("force_eager")


def check_finite(losses: dict[str, Tensor], epoch: int, step: int) -> None:
    """Raises ``RunError``, in every process, naming the summed ``losses`` that are not finite in one of them."""
    values = torch.stack(list(losses.values())).tolist()
    bad = [f"{name} is {value}" for name, value in zip(losses, values, strict=True) if not math.isfinite(value)]
    if any(any_of_all(bool(bad))):
        raise RunError(
            f"the loss is not finite by step {step} of epoch {epoch} ({', '.join(bad) or 'in another process'}): "
            f"lower SOLVER.BASE_LR; last.pth, if written, holds the last good epoch"
        )

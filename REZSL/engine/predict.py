"""A model and a loader to predicted attributes: every image is looked at once."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from REZSL.data.splits import ZSLSplit
from REZSL.evaluation import Predictions
from REZSL.utils.device import to_device
from REZSL.utils.distributed import is_main, objects_of_all
from REZSL.utils.errors import Stopped
from REZSL.utils.stopping import stoppable


@torch.inference_mode()
def predict(
    model: nn.Module, loader: DataLoader, device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts the attributes of all inputs of ``loader``, in its order; the model's mode is restored.

    A request to stop is met between batches: see :func:`~REZSL.utils.stopping.stop_requests`.

    Args:
        model: inputs to an output with ``attributes`` (B, K); one that has a ``predictor()`` is asked for it, once.
        loader: gives ``(inputs, labels)``.
        device: where the model is.
        dtype: precision of the forward pass.

    Returns:
        attributes (N, K) float32, labels (N,) int64.
    """
    was_training = model.training
    model.eval()
    autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    attributes, labels = [], []
    try:
        with autocast:
            predictor = model.predictor() if hasattr(model, "predictor") else model
        hidden = None if is_main() else True
        bar = tqdm(stoppable(loader), desc="evaluating", total=len(loader), leave=False, disable=hidden)
        for inputs, batch_labels in bar:
            inputs = to_device(inputs, device)
            with autocast:
                attributes.append(predictor(inputs).attributes.float())
            labels.append(batch_labels)
    finally:
        model.train(was_training)
    return torch.cat(attributes).cpu().numpy(), torch.cat(labels).numpy()


def predict_split(
    model: nn.Module,
    loader: DataLoader,
    split: ZSLSplit,
    images: np.ndarray,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Predictions:
    """Predicts the test images of ``split`` (``images``, in the order of ``loader``), with all that scoring needs.

    Of several processes, each predicts what its loader gives, every n-th image, and all get the whole; where one was
    asked to stop, none waits for it, and all raise ``Stopped``.
    """
    try:
        own = predict(model, loader, device, dtype)
    except Stopped as stop:
        own = stop
    parts = objects_of_all(own)
    for stop in parts:
        if isinstance(stop, Stopped):
            raise stop
    attributes, labels = (np.empty((len(images), *part.shape[1:]), part.dtype) for part in parts[0])
    for rank, part in enumerate(parts):
        attributes[rank :: len(parts)], labels[rank :: len(parts)] = part
    return Predictions(attributes, labels, split.signatures, split.num_seen, model.scale, split.class_names, images)

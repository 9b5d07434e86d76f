"""Lines of metrics to an experiment tracker, beside ``metrics.jsonl``: TensorBoard, Weights & Biases or MLflow."""

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from REZSL.utils.errors import ConfigError, first_line
from REZSL.utils.files import write_text
from REZSL.utils.text import printable

Track = Callable[[dict[str, Any]], None]


@contextmanager
def tracking(kind: str, folder: Path, name: str, config: dict[str, Any]) -> Iterator[Track]:
    """Yields what to call with each line of metrics; a run that goes on is found again by ``folder/tracker.txt``.

    Args:
        kind: ``none``, ``tensorboard``, ``wandb`` or ``mlflow``.
        folder: of the run; TensorBoard's files and W&B's own go there.
        name: of the run in the tracker.
        config: every key's value, by its full name.

    Raises:
        ConfigError: the tracker is not installed, or cannot start (no login, no store).
    """
    if kind == "none":
        yield lambda line: None
        return
    told = {key: printable(value) if isinstance(value, str) else value for key, value in config.items()}
    with ExitStack() as stack:
        try:
            write = stack.enter_context(_TRACKERS[kind](folder, printable(name), told))
        except ConfigError:
            raise
        except Exception as error:  # each tracker raises its own kinds
            raise ConfigError(f"TRACKER {kind} cannot start: {first_line(error)}") from None
        yield lambda line: write(_figures(line), line["epoch"])


def _figures(line: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a line, nested ones under ``a/b``, in letters that every tracker takes."""
    figures: dict[str, float] = {}
    for key, value in line.items():
        name = prefix + re.sub(r"[^\w.-]", "_", key)
        if isinstance(value, dict):
            figures |= _figures(value, name + "/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name != "epoch":
            figures[name] = value
    return figures


@contextmanager
def _tensorboard(folder: Path, name: str, config: dict[str, Any]) -> Iterator[Callable]:
    writer = _module("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder / "tensorboard"))
    writer.add_text("config", "\n".join(f"    {key}: {value}" for key, value in config.items()))

    def write(figures: dict[str, float], epoch: int) -> None:
        for key, value in figures.items():
            writer.add_scalar(key, value, epoch)
        writer.flush()

    try:
        yield write
    finally:
        writer.close()


@contextmanager
def _wandb(folder: Path, name: str, config: dict[str, Any]) -> Iterator[Callable]:
    wandb = _module("wandb", "wandb")
    known = _known_run(folder)
    run = wandb.init(project="REZSL", name=name, dir=str(folder), config=config, id=known, resume="allow")
    _remember_run(folder, run.id)
    try:
        yield lambda figures, epoch: run.log(figures, step=epoch)
    finally:
        run.finish()


@contextmanager
def _mlflow(folder: Path, name: str, config: dict[str, Any]) -> Iterator[Callable]:
    mlflow = _module("mlflow", "mlflow")
    known = _known_run(folder)
    with mlflow.start_run(run_id=known, run_name=None if known else name) as run:
        _remember_run(folder, run.info.run_id)
        if not known:
            mlflow.log_params({key: printable(str(value), 500) for key, value in config.items()})
        yield lambda figures, epoch: mlflow.log_metrics(figures, step=epoch)


_TRACKERS = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}


def _module(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(f"TRACKER {package} needs {package}: pip install {package}") from None


def _known_run(folder: Path) -> str | None:
    file = folder / "tracker.txt"
    return file.read_text(encoding="utf-8").strip() if file.exists() else None


def _remember_run(folder: Path, identity: str) -> None:
    write_text(folder / "tracker.txt", identity + "\n")

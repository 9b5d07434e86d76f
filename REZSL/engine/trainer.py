"""The one training loop."""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from tqdm import tqdm

from REZSL.evaluation import Predictions, Results
from REZSL.utils.errors import DataError, RunError, first_line
from REZSL.utils.seeding import random_states, restore_random_states

from .checkpoint import save_checkpoint
from .run_folder import RunFolder

log = logging.getLogger(__name__)

STEPS_BETWEEN_CHECKS = 20  # the losses are read back, which makes an accelerator wait, this seldom


class Selected(NamedTuple):
    """The epoch (1-based) kept as ``best.pth``, and what it predicted."""

    epoch: int
    predictions: Predictions
    results: Results


class Trainer:
    """Trains a model and leaves checkpoints and ``metrics.jsonl`` in a run folder.

    Args:
        model: on ``device``.
        criterion: ``(output, labels) -> terms`` with ``total(terms)``, on ``device``.
        optimizer: over both.
        schedule: stepped after every optimiser step.
        loader: gives ``(inputs, labels)``; its batch sampler has ``set_epoch``.
        evaluate: predicts and evaluates the test images.
        folder: where files go.
        epochs: length of the training.
        device: where to compute.
        dtype: precision of the forward pass; float16 scales the loss.
        eval_period: epochs between evaluations; the last epoch is always evaluated.
        checkpoint_period: epochs between writes of ``last.pth``; the last epoch is always written.
        score: the epoch with the highest, the first of several, is selected; None: the last.
        config_text: written into the checkpoints.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: LambdaLR,
        loader: DataLoader,
        evaluate: Callable[[], tuple[Predictions, Results]],
        folder: RunFolder,
        epochs: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        eval_period: int = 1,
        checkpoint_period: int = 1,
        score: Callable[[Results], float] | None = None,
        config_text: str = "",
    ) -> None:
        self.model, self.criterion, self.optimizer, self.schedule = model, criterion, optimizer, schedule
        self.loader, self.evaluate, self.folder = loader, evaluate, folder
        self.epochs, self.device, self.dtype = epochs, device, dtype
        self.eval_period, self.checkpoint_period, self.score = eval_period, checkpoint_period, score
        self.config_text = config_text
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self.selected: Selected | None = None

    def resume(self, state: dict, optimizer: bool, schedule: bool) -> int:
        """Takes over the state of an earlier training (``last.pth``) and returns the epoch to start from.

        What the config says of rates, decay and momentum holds; the checkpoint says how far the training is.

        Args:
            state: content of the checkpoint.
            optimizer: take what the optimiser, the loss scaler and the criterion (ReMSE's statistics) have gathered.
            schedule: take the epoch, the schedule's position and the random states.

        Raises:
            DataError: the state is not there, or is that of another optimiser, criterion or set of parameters.
        """
        try:
            if optimizer:
                own, saved = self.optimizer.state_dict(), state["optimizer"]
                sizes = [[len(group["params"]) for group in part["param_groups"]] for part in (own, saved)]
                if state["optimizer_type"] != type(self.optimizer).__name__ or sizes[0] != sizes[1]:
                    raise ValueError("the optimizer is another, or has other parameters")
                self.optimizer.load_state_dict({"state": saved["state"], "param_groups": own["param_groups"]})
                self.criterion.load_state_dict(state["criterion"])
                self.scaler.load_state_dict(state["scaler"])
            if schedule:
                position = {key: state["schedule"][key] for key in ("last_epoch", "_step_count")}
                self.schedule.load_state_dict({**self.schedule.state_dict(), **position})
                factors = [factor(self.schedule.last_epoch) for factor in self.schedule.lr_lambdas]
                bases = zip(self.optimizer.param_groups, self.schedule.base_lrs, factors, strict=True)
                for group, base, factor in bases:
                    group["lr"] = base * factor
                restore_random_states(state["random"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise DataError(f"the training cannot go on from this checkpoint: {first_line(error)}") from None
        return state["epoch"] if schedule else 0

    def train(self, start_epoch: int = 0) -> Selected:
        """Trains from ``start_epoch`` (0-based) to the end and returns the selected epoch."""
        for epoch in range(start_epoch, self.epochs):
            started = time.perf_counter()
            line = {"epoch": epoch + 1, **self._train_epoch(epoch)}
            trained = time.perf_counter()
            is_last = epoch + 1 == self.epochs
            if is_last or (epoch + 1) % self.eval_period == 0:
                predictions, results = self.evaluate()
                line |= results.as_dict()
                if self._is_selected(results, is_last):
                    self.selected = Selected(epoch + 1, predictions, results)
                    save_checkpoint(
                        self.folder.best, model=self.model.state_dict(), epoch=epoch + 1, config=self.config_text
                    )
            if is_last or (epoch + 1) % self.checkpoint_period == 0:
                self._save_last(epoch + 1)
            self.folder.add_metrics(line)
            self._log(line, trained - started, time.perf_counter() - trained)
        return self.selected

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        """Trains one epoch and returns its line of metrics.

        These are the last learning rate, the means of the loss and of each of its terms, and, at the first step, the
        terms' shares of the gradient norm: a term whose share is near 0 is idle.
        """
        self.model.train()
        self.criterion.train()
        self.loader.batch_sampler.set_epoch(epoch)
        sums: dict[str, torch.Tensor] = {}
        bar = tqdm(self.loader, desc=f"epoch {epoch + 1}/{self.epochs}", leave=False, disable=None)
        for step, (inputs, labels) in enumerate(bar, 1):
            inputs, labels = (x.to(self.device, non_blocking=True) for x in (inputs, labels))
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                output = self.model(inputs)
            terms = self.criterion(output, labels)
            loss = self.criterion.total(terms)
            if step == 1:
                shares = self._gradient_shares(terms)

            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)  # skipped by float16 while the scaler finds its scale
            self.scaler.update()
            lr = self.optimizer.param_groups[0]["lr"]
            self.schedule.step()

            for name, value in {"loss": loss, **terms}.items():
                sums[name] = sums.get(name, 0) + value.detach()
            if self.device.type == "cpu" or step % STEPS_BETWEEN_CHECKS == 0 or step == len(self.loader):
                _check_finite(sums, epoch + 1, step)
        means = {name: value.item() / len(self.loader) for name, value in sums.items()}
        return {"lr": lr, **means, "gradient_share": shares}

    def _gradient_shares(self, terms: dict[str, torch.Tensor]) -> dict[str, float]:
        """The norm of each weighted term's gradient in the model's parameters, divided by the sum of these norms."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        norms = {}
        for name, term in terms.items():
            weighted = self.criterion.total({name: term})
            gradients = torch.autograd.grad(weighted, parameters, retain_graph=True, allow_unused=True)
            norms[name] = torch.stack([g.float().norm() for g in gradients if g is not None]).norm().item()
        return {name: norm / max(sum(norms.values()), 1e-12) for name, norm in norms.items()}

    def _is_selected(self, results: Results, is_last: bool) -> bool:
        if self.score is None:
            return is_last
        return self.selected is None or self.score(results) > self.score(self.selected.results)

    def _save_last(self, epoch: int) -> None:
        save_checkpoint(
            self.folder.last,
            model=self.model.state_dict(),
            criterion=self.criterion.state_dict(),
            optimizer=self.optimizer.state_dict(),
            optimizer_type=type(self.optimizer).__name__,
            schedule=self.schedule.state_dict(),
            scaler=self.scaler.state_dict(),
            epoch=epoch,
            random=random_states(),
            config=self.config_text,
        )

    def _log(self, line: dict, train_seconds: float, eval_seconds: float) -> None:
        terms = [f"{name} {line[name]:.4f}" for name in ("ce", "regression", "ad", "cpt") if name in line]
        text = f"epoch {line['epoch']:>{len(str(self.epochs))}}/{self.epochs}  lr {line['lr']:.2e}"
        text += f"  loss {line['loss']:.4f} ({', '.join(terms)})"
        if "T1" in line:
            rows = line["gzsl"]
            text += f"  T1 {100 * line['T1']:.1f}  H {100 * rows['gamma=0']['H']:.1f} (gamma=0)"
            text += f" {100 * rows['oracle']['H']:.1f} (oracle)"
        log.info("%s  %.1f s + %.1f s", text, train_seconds, eval_seconds)


def _check_finite(sums: dict[str, torch.Tensor], epoch: int, step: int) -> None:
    bad = [f"{name} is {value.item()}" for name, value in sums.items() if not torch.isfinite(value)]
    if bad:
        raise RunError(
            f"the loss is not finite by step {step} of epoch {epoch} ({', '.join(bad)}): lower SOLVER.BASE_LR; "
            f"last.pth, if written, holds the last good epoch"
        )

"""The one training loop."""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from tqdm import tqdm

from REZSL.evaluation import Predictions, Results
from REZSL.utils.device import to_device
from REZSL.utils.distributed import any_of_all, is_main, mean_of_all, world_size
from REZSL.utils.errors import RunError, Stopped
from REZSL.utils.seeding import random_states, restore_random_states
from REZSL.utils.stopping import StopRequest, interruptible, note_saved, stop_requests

from .best import read_best, save_best, score_to_beat
from .checkpoint import restore_optimizer, restore_schedule, save_checkpoint
from .content import check_gathered, check_position, check_progress
from .objective import Objective, check_finite, eager_where_compiled, gradient_shares, in_all_processes
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

    Several processes (``torch.distributed``) train together by ``DistributedDataParallel``, each on its part of every
    batch; the first writes.

    Args:
        model: on ``device``.
        criterion: ``(output, labels) -> terms`` with ``total(terms)``, on ``device``.
        optimizer: over both.
        schedule: stepped after every optimiser step.
        loader: gives ``(inputs, labels)``, this process's part of a batch; its batch sampler has ``set_epoch``.
        evaluate: predicts and evaluates the test images.
        folder: where files go.
        epochs: length of the training.
        device: where to compute.
        dtype: precision of the forward pass; float16 scales the loss.
        clip_norm: the gradient is scaled down to this norm where it is longer; 0: never.
        accumulate: batches whose mean gradient makes one optimiser step; an epoch's last step has what is left.
        unused_parameters: some trainable parameters get no gradient, which several processes must know of.
        eval_period: epochs between evaluations; the last epoch is always evaluated.
        checkpoint_period: epochs between writes of ``last.pth``; the last epoch is always written.
        checkpoint_minutes: also write it after so many minutes, in the middle of an epoch; 0: never.
        keep: older checkpoints (``last-1.pth``, ...) that stay.
        score: the epoch with the highest, the first of several, is selected; None: the last.
        config_text: written into the checkpoints.
        track: called with each line of metrics.
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
        clip_norm: float = 0.0,
        accumulate: int = 1,
        unused_parameters: bool = False,
        eval_period: int = 1,
        checkpoint_period: int = 1,
        checkpoint_minutes: float = 0.0,
        keep: int = 0,
        score: Callable[[Results], float] | None = None,
        config_text: str = "",
        track: Callable[[dict[str, Any]], None] = lambda line: None,
    ) -> None:
        self.model, self.criterion, self.optimizer, self.schedule = model, criterion, optimizer, schedule
        self.loader, self.evaluate, self.folder = loader, evaluate, folder
        self.epochs, self.device, self.clip_norm, self.accumulate = epochs, device, clip_norm, accumulate
        self.eval_period, self.checkpoint_period, self.score = eval_period, checkpoint_period, score
        self.checkpoint_minutes, self.keep, self.config_text = checkpoint_minutes, keep, config_text
        self.track = track
        self.objective = in_all_processes(Objective(model, criterion, dtype), device, unused_parameters)
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self.selected: Selected | None = None
        self.best_score = float("-inf")
        self.epoch = self.step = 0  # where the training is: epochs done, and steps done of the one under way
        self.sums: dict[str, torch.Tensor] = {}  # of the losses over those steps
        self.shares: dict[str, float] = {}
        self.line: dict[str, Any] = {}  # of metrics, of the epoch just done, until it is evaluated
        self.request = StopRequest()
        self.saved_at, self.saved_place = time.monotonic(), self._place()
        self.waited = 0.0  # seconds of the epoch under way in which there was no batch to train on

    def resume(self, state: dict, optimizer: bool, schedule: bool) -> int:
        """Takes over the state of an earlier training (``last.pth``) and returns the epoch to start from.

        What the config says of rates, decay and momentum holds; the checkpoint says how far the training is.

        Args:
            state: content of the checkpoint.
            optimizer: take what the optimiser, the loss scaler and the criterion (ReMSE's statistics) have gathered.
            schedule: take the epoch, the schedule's position and the random states.

        Raises:
            DataError: the state is not there, or is that of another optimiser, criterion or set of parameters; then
                nothing of it is taken.
        """
        if optimizer:
            check_gathered(state, self.optimizer, self.criterion, self.scaler)
        if schedule:
            check_position(state, self.schedule)
        if optimizer:
            restore_optimizer(self.optimizer, state)
            self.criterion.load_state_dict(state["criterion"])
            self.scaler.load_state_dict(state["scaler"])
        if schedule:
            restore_schedule(self.schedule, state)
            restore_random_states(state["random"])
        return state["epoch"] if schedule else 0

    def go_on(self, state: dict) -> None:
        """Takes over all of a checkpoint of this very training, so that it goes on as if it had never stopped.

        Raises:
            DataError: as of :meth:`resume`, or the model is another; then nothing is taken.
            RunError: the training is longer than ``epochs`` already.
        """
        check_progress(state, self.model, len(self.loader))
        if state["epoch"] + bool(state["step"]) > self.epochs:
            raise RunError(f"the training is to end after epoch {self.epochs}, and {self.folder.last} is beyond that")
        best_score = score_to_beat(self.folder.best, self.model, state["history"]) if self.score else float("-inf")
        self.resume(state, optimizer=True, schedule=True)
        self.model.load_state_dict(state["model"])
        self.epoch, self.step, self.shares = state["epoch"], state["step"], state["shares"]
        self.line = state.get("line", {})
        self.sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        self.best_score = best_score
        self.folder.write_metrics(state["history"])

    def train(self, start_epoch: int | None = None) -> Selected:
        """Trains to the end and returns the selected epoch.

        A request to stop (see :func:`~REZSL.utils.stopping.stop_requests`) ends it once ``last.pth`` is written: after
        the step under way, in an evaluation between its batches, and, where one process trains, while it waits for
        data. SIGUSR1 has ``last.pth`` written after the step under way.

        Args:
            start_epoch: 0-based; None: where :meth:`go_on` left the training, or the start.

        Raises:
            Stopped: after such a request.
            RunError: the loss is not finite.
        """
        self.epoch = self.epoch if start_epoch is None else start_epoch
        self.saved_place = self._place()  # where it begins there is nothing new to save
        with stop_requests() as self.request:
            try:
                while self.line or self.epoch < self.epochs:
                    started = time.perf_counter()
                    self.line = self.line or self._train_epoch()
                    trained = time.perf_counter()
                    line = self._end_epoch()
                    self._log(line, trained - started, time.perf_counter() - trained)
                    if self.epoch < self.epochs and any(any_of_all(self.request.signal_number is not None)):
                        self._stop()
            except Stopped:
                self._save_last()
                raise
        return self.selected or self._selected_again()

    def _train_epoch(self) -> dict[str, Any]:
        """Trains one epoch, or what is left of it, and returns its line of metrics, without an evaluation.

        These are the last learning rate, the means of the loss and of each of its terms, and, at the first step, the
        terms' shares of the gradient norm: a term whose share is near 0 is idle.
        """
        self.model.train()
        self.criterion.train()
        total = len(self.loader)
        self.loader.batch_sampler.set_epoch(self.epoch, self.step)
        self.waited = 0.0
        for inputs, labels in self._batches(total):
            self._train_batch(inputs, labels)
            self.step += 1
            if self.step == total or self.step % self.accumulate == 0:
                self._after_step(is_last=self.step == total)
        means = mean_of_all(torch.stack(list(self.sums.values()))) / total
        line = {"epoch": self.epoch + 1, "lr": self.schedule.base_lrs[0] * self._last_factor()}
        self.epoch, self.step, names, self.sums = self.epoch + 1, 0, list(self.sums), {}
        return {**line, **dict(zip(names, means.tolist(), strict=True)), "gradient_share": self.shares}

    def _batches(self, total: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yields what is left of the epoch; a request to stop ends the waiting where the training can be saved then."""
        description, hidden = f"epoch {self.epoch + 1}/{self.epochs}", None if is_main() else True
        left = range(self.step, total)
        bar = tqdm(left, desc=description, total=total, initial=self.step, leave=False, disable=hidden)
        batches = None
        for step in bar:
            started = time.perf_counter()
            between_steps = step % self.accumulate == 0 and world_size() == 1
            with interruptible() if between_steps else nullcontext():
                batches = batches or iter(self.loader)
                batch = next(batches)
            self.waited += time.perf_counter() - started
            yield batch

    def _train_batch(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Takes a batch's gradient, and a step where it is time to."""
        inputs, labels = (to_device(x, self.device) for x in (inputs, labels))
        total, begun = len(self.loader), self.step // self.accumulate * self.accumulate
        together = min(self.accumulate, total - begun)  # batches that make this step
        is_last = self.step == begun + together - 1
        alone = world_size() > 1 and not is_last  # gradients of all processes meet once a step
        with self.objective.no_sync() if alone else nullcontext():
            with eager_where_compiled() if self.step == 0 else nullcontext():
                terms = self.objective(inputs, labels)
            loss = self.criterion.total(terms)
            if self.step == 0:
                self.sums, self.shares = {}, gradient_shares(terms, self.criterion.total, self.model.parameters())
            if self.step == begun:
                self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss / together).backward()
        for name, value in {"loss": loss, **terms}.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
        if is_last:
            self._step_optimizer()

    def _step_optimizer(self) -> None:
        if self.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], self.clip_norm)
        self.scaler.step(self.optimizer)  # skipped by float16 while the scaler finds its scale
        self.scaler.update()
        self.schedule.step()

    def _last_factor(self) -> float:
        """Of the learning rate, at the last step."""
        return self.schedule.lr_lambdas[0](self.schedule.last_epoch - 1)

    def _after_step(self, is_last: bool) -> None:
        """Looks at the losses, seldom where that makes an accelerator wait, and saves or stops where it is time to."""
        due = self.request.save_wanted or (is_main() and self._is_due())
        stopping, due = any_of_all(self.request.signal_number is not None, due)
        interrupted = (stopping or due) and not is_last
        if interrupted or is_last or self.device.type == "cpu" or self.step % STEPS_BETWEEN_CHECKS == 0:
            check_finite(self.sums, self.epoch + 1, self.step)
        if interrupted and stopping:
            self._stop()
        elif interrupted:
            self._save_last()

    def _stop(self) -> None:
        raise Stopped(self.request.signal_number or signal.SIGTERM)  # where only another process was asked

    def _end_epoch(self) -> dict[str, Any]:
        """Saves, evaluates where it is time to, keeps the best, and returns the epoch's line of metrics.

        Saved is the epoch before its evaluation, which can take long: a training that goes on begins with it.
        """
        is_last = self.epoch == self.epochs
        if is_last or self.epoch % self.checkpoint_period == 0 or self._is_due() or self.request.save_wanted:
            self._save_last()
        line = dict(self.line)
        if is_last or self.epoch % self.eval_period == 0:
            predictions, results = self.evaluate()
            line |= results.as_dict()
            score = self.score(results) if self.score else float(self.epoch)
            if score > self.best_score and (self.score or is_last):
                self.selected, self.best_score = Selected(self.epoch, predictions, results), score
                save_best(self.folder.best, self.model, self.epoch, score, self.config_text)
        self.line = {}
        self.folder.add_metrics(line)
        self.track(line)
        return line

    def _selected_again(self) -> Selected:
        """Evaluates the selected epoch, which lies before the training went on."""
        epoch = self.epoch
        if self.score is None:
            save_best(self.folder.best, self.model, epoch, float(epoch), self.config_text)
        else:
            best = read_best(self.folder.best, self.model)
            self.model.load_state_dict(best["model"])
            epoch = best["epoch"]
        return Selected(epoch, *self.evaluate())

    def _place(self) -> tuple[int, int, bool]:
        """Tells apart all that can be saved of one training: the last says whether an evaluation is to come."""
        return self.epoch, self.step, bool(self.line)

    def _is_due(self) -> bool:
        return 0 < self.checkpoint_minutes * 60 <= time.monotonic() - self.saved_at

    def _save_last(self) -> None:
        asked, self.request.save_wanted = self.request.save_wanted, False
        place = self._place()
        sums = {name: mean_of_all(value) for name, value in self.sums.items()}
        if not is_main() or place == self.saved_place:
            return
        save_checkpoint(
            self.folder.last,
            keep=self.keep,
            model=self.model.state_dict(),
            criterion=self.criterion.state_dict(),
            optimizer=self.optimizer.state_dict(),
            optimizer_type=type(self.optimizer).__name__,
            schedule=self.schedule.state_dict(),
            scaler=self.scaler.state_dict(),
            epoch=self.epoch,
            step=self.step,
            sums=sums,
            shares=self.shares,
            line=self.line,
            history=self.folder.history,
            random=random_states(),
            config=self.config_text,
        )
        self.saved_at, self.saved_place = time.monotonic(), place
        where = f"step {self.step} of epoch {self.epoch + 1}" if self.step else f"epoch {self.epoch}"
        note_saved(f"{self.folder.last} is as of the end of {where}")
        if asked:
            log.info("%s, as asked", self.request.saved)

    def _log(self, line: dict, train_seconds: float, eval_seconds: float) -> None:
        terms = [f"{name} {line[name]:.4f}" for name in ("ce", "regression", "ad", "cpt") if name in line]
        text = f"epoch {line['epoch']:>{len(str(self.epochs))}}/{self.epochs}  lr {line['lr']:.2e}"
        text += f"  loss {line['loss']:.4f} ({', '.join(terms)})"
        if "T1" in line:
            rows = {row: line["gzsl"][row]["H"] for row in ("val", "gamma=0", "oracle") if row in line["gzsl"]}
            harmonic = " ".join(f"{100 * h:.1f} ({row})" for row, h in rows.items())
            text += f"  T1 {100 * line['T1']:.1f}" + (f"  H {harmonic}" if rows else "")
        seconds = train_seconds, 100 * self.waited / max(train_seconds, 1e-9), eval_seconds
        log.info("%s  %.2f s (%.0f %% waiting for data) + %.2f s", text, *seconds)

"""The loop, on a linear problem it can solve."""

import copy
import json
import logging
import signal
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

from REZSL.data import RandomBatchSampler
from REZSL.engine import RunFolder, Trainer, load_checkpoint, newest_checkpoint
from REZSL.evaluation import Curve, Results, Row
from REZSL.modeling import BasicNet, ReMSELoss, ZSLCriterion, ZSLModel, build_backbone
from REZSL.utils.errors import RunError, Stopped
from REZSL.utils.seeding import restore_random_states
from REZSL.utils.stopping import SIGNALS, stoppable

SIGNATURES = torch.rand(4, 5, generator=torch.Generator().manual_seed(1))
BATCHES = 3


def make_results(best):
    point = np.zeros(1)
    rows = {
        "gamma=0": Row(0.0, 0.1, 0.1, 0.1),
        "fixed": Row(0.7, 0.1, 0.1, 0.1),
        "oracle": Row(0.2, best, best, best, True),
    }
    return Results(0.5, 0.25, rows, Curve(point, point, point))


def make_trainer(path, best=(0.1,) * 99, lr_factor=lambda step: 1.0, on_evaluate=lambda trainer, n: None, **options):
    """A trainer whose n-th evaluation gives ``best[n]`` as the oracle's H, and predictions that say ``n``."""
    torch.manual_seed(0)
    labels = torch.arange(20) % 4
    data = TensorDataset(SIGNATURES[labels] @ torch.randn(5, 8), labels)
    batches = RandomBatchSampler(20, 8, BATCHES, seed=3)
    loader = DataLoader(data, batch_sampler=batches, generator=torch.Generator())
    model = ZSLModel(build_backbone("features", feature_dim=8), BasicNet(8, 5))
    criterion = ZSLCriterion(SIGNATURES, ReMSELoss(4, 5, p=0.1, p2=0.5), 20.0, (1.0, 0.5, 0.0, 0.0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    calls = []

    def evaluate():
        calls.append(0)
        on_evaluate(trainer, len(calls))
        return f"predictions {len(calls)}", make_results(best[len(calls) - 1])

    options = {"epochs": 2, "device": torch.device("cpu"), "config_text": "A: 1\n"} | options
    schedule = LambdaLR(optimizer, lr_factor)
    trainer = Trainer(model, criterion, optimizer, schedule, loader, evaluate, RunFolder(path), **options)
    return trainer


def read_metrics(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_loss_falls_and_every_epoch_has_its_line(tmp_path):
    trainer = make_trainer(tmp_path, epochs=15, checkpoint_period=15)
    steps = []
    trainer.criterion.register_forward_hook(
        lambda module, inputs, terms: steps.append({k: v.item() for k, v in terms.items()})
    )
    trainer.train()
    lines = read_metrics(tmp_path)
    assert lines == trainer.folder.history
    assert [line["epoch"] for line in lines] == list(range(1, 16))
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    for n, line in enumerate(lines):
        assert set(line) == {"epoch", "lr", "loss", "ce", "regression", "gradient_share", "T1", "AUSUC", "gzsl"}
        for name in ("ce", "regression"):
            mean = np.mean([step[name] for step in steps[BATCHES * n : BATCHES * (n + 1)]])
            assert line[name] == pytest.approx(mean, rel=1e-5)
        assert line["loss"] == pytest.approx(line["ce"] + 0.5 * line["regression"], rel=1e-5)
        assert line["gzsl"] == make_results(0.1).as_dict()["gzsl"]


def test_every_epoch_has_its_own_batches(tmp_path):
    trainer = make_trainer(tmp_path)
    seen = []
    trainer.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    trainer.train()
    assert len(seen) == 2 * BATCHES
    assert not torch.equal(torch.cat(seen[:BATCHES]), torch.cat(seen[BATCHES:]))


@pytest.mark.parametrize("clip_norm", [0.0, 0.5, 1e6])
def test_gradients_are_no_longer_than_told(tmp_path, clip_norm):
    """Longer ones keep their direction; with 0, or where they are short enough, they stay as they are."""
    steps = {}
    for name, limit in (("plain", 0.0), ("clipped", clip_norm)):
        trainer = make_trainer(tmp_path / name, epochs=1, clip_norm=limit)
        trainer.loader.batch_sampler.num_batches = 1
        parameters = list(trainer.model.parameters())
        trainer.optimizer.register_step_pre_hook(
            lambda *_, name=name, parameters=parameters: steps.update(
                {name: torch.cat([p.grad.flatten().clone() for p in parameters])}
            )
        )
        trainer.train()
    norm = steps["plain"].norm()
    assert norm > 0.5
    expected = steps["plain"] * (min(1.0, clip_norm / norm) if clip_norm else 1.0)
    torch.testing.assert_close(steps["clipped"], expected, rtol=1e-4, atol=0)


def test_learning_rates_are_those_scheduled(tmp_path):
    trainer = make_trainer(tmp_path, lr_factor=lambda step: 0.5**step)
    rates = []
    trainer.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.train()
    assert rates == pytest.approx([0.05 * 0.5**step for step in range(2 * BATCHES)])
    assert [line["lr"] for line in read_metrics(tmp_path)] == pytest.approx(rates[BATCHES - 1 :: BATCHES])


def test_last_checkpoint_holds_everything_that_changes(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    content = load_checkpoint(tmp_path / "last.pth")
    parts = {"model", "criterion", "optimizer", "optimizer_type", "schedule", "scaler", "random", "config"}
    parts |= {"epoch", "step", "sums", "shares", "line", "history"}
    assert set(content) == parts
    assert (content["epoch"], content["config"], content["schedule"]["last_epoch"]) == (2, "A: 1\n", 2 * BATCHES)
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(content["model"][name], value)
    momentum = [state["momentum_buffer"] for state in content["optimizer"]["state"].values()]
    assert [tuple(m.shape) for m in momentum] == [(5, 8), (5,)]
    restore_random_states(content["random"])
    drawn = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    restore_random_states(content["random"])
    assert torch.equal(drawn[0], torch.rand(3))
    assert (drawn[1] == np.random.rand(3)).all()  # noqa: NPY002


def test_remse_statistics_are_in_the_criterions_state(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.train()
    statistics = {k.split(".")[-1]: v for k, v in load_checkpoint(tmp_path / "last.pth")["criterion"].items()}
    assert (statistics["_error_mean"] > 0).any()
    assert (trainer.criterion.regression.statistics.weights > 1).any()
    assert statistics["_count"].sum() == 8
    assert torch.equal(statistics["_error_mean"], trainer.criterion.regression.statistics.error_mean)


@pytest.mark.parametrize(("period", "expected"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_evaluation_period_and_last_epoch(tmp_path, period, expected):
    make_trainer(tmp_path, epochs=5, eval_period=period).train()
    assert [line["epoch"] for line in read_metrics(tmp_path) if "T1" in line] == expected


@pytest.mark.parametrize(("period", "expected"), [(1, [1, 2, 3, 4, 5]), (2, [0, 2, 2, 4, 5]), (9, [0, 0, 0, 0, 5])])
def test_checkpoint_period_and_last_epoch(tmp_path, period, expected):
    """What last.pth holds when each epoch is evaluated: that can take long, so it is written before."""
    found, last = [], tmp_path / "last.pth"

    def look(trainer, n):
        found.append(load_checkpoint(last)["epoch"] if last.exists() else 0)

    make_trainer(tmp_path, epochs=5, checkpoint_period=period, on_evaluate=look).train()
    assert found == expected
    assert load_checkpoint(last)["epoch"] == 5


def oracle_h(results):
    return results.gzsl["oracle"].H


@pytest.mark.parametrize(("score", "expected"), [(None, 4), (oracle_h, 2)])
def test_the_selected_epoch_is_kept(tmp_path, score, expected):
    weights = []

    def keep(trainer, n):
        weights.append(trainer.model.head.regressor.weight.detach().clone())

    trainer = make_trainer(tmp_path, epochs=4, score=score, best=(0.2, 0.5, 0.5, 0.1), on_evaluate=keep)
    selected = trainer.train()
    assert (selected.epoch, selected.predictions) == (expected, f"predictions {expected}")
    best = selected.results.gzsl["oracle"].H
    assert best == (0.2, 0.5, 0.5, 0.1)[expected - 1]
    kept = load_checkpoint(tmp_path / "best.pth")
    assert (kept["epoch"], kept["config"]) == (expected, "A: 1\n")
    assert torch.equal(kept["model"]["head.regressor.weight"], weights[expected - 1])


def test_training_can_start_at_a_later_epoch(tmp_path):
    """Its batches are those of that epoch, and the folder gets that epoch's line alone."""
    inputs = []
    for start in (0, 1):
        trainer = make_trainer(tmp_path / str(start))
        seen = []
        trainer.model.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(args[0]))
        trainer.train(start)
        inputs.append(torch.cat(seen[-BATCHES:]))
    assert torch.equal(*inputs)
    assert [line["epoch"] for line in read_metrics(tmp_path / "1")] == [2]


class NotFinite(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, pred, target, labels):
        return self.value * pred.sum().abs()


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, value):
    def spoil(trainer, n):
        trainer.criterion.regression = NotFinite(float(value))

    trainer = make_trainer(tmp_path, epochs=3, on_evaluate=spoil)
    trainer.loader.batch_sampler.num_batches = 1
    with pytest.raises(RunError, match=rf"not finite by step 1 of epoch 2 \(loss is {value}, regression is {value}\)"):
        trainer.train()
    assert load_checkpoint(tmp_path / "last.pth")["epoch"] == 1
    assert len(read_metrics(tmp_path)) == 1


def test_the_log_has_a_line_an_epoch(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("REZSL"), "propagate", True)
    with caplog.at_level(logging.INFO, "REZSL"):
        make_trainer(tmp_path, best=(0.25, 0.5)).train()
    assert [m.split("  ")[0] for m in caplog.messages] == ["epoch 1/2", "epoch 2/2"]
    assert "T1 50.0  H 10.0 (gamma=0) 25.0 (oracle)" in caplog.messages[0]


def test_modes_while_training_and_after_evaluation(tmp_path):
    """Each epoch trains in training mode, whatever evaluation left behind."""
    modes = []
    trainer = make_trainer(tmp_path, on_evaluate=lambda trainer, n: trainer.model.eval())
    trainer.model.register_forward_pre_hook(lambda module, args: modes.append(module.training))
    trainer.train()
    assert modes == [True] * 2 * BATCHES


def test_gradient_shares_are_those_of_each_term_alone(tmp_path):
    """At the first step of the first epoch: norms of lambda * gradient, taken one term at a time by backward."""
    trainer = make_trainer(tmp_path, epochs=1)
    twin = copy.deepcopy((trainer.model, trainer.criterion))
    trainer.train()
    (line,) = read_metrics(tmp_path)

    trainer.loader.batch_sampler.set_epoch(0)
    inputs, labels = next(iter(trainer.loader))
    norms = {}
    for name in ("ce", "regression"):
        model, criterion = copy.deepcopy(twin)
        (criterion.weights[name] * criterion(model(inputs), labels)[name]).backward()
        norms[name] = sum(p.grad.square().sum().item() for p in model.parameters() if p.grad is not None) ** 0.5
    expected = {name: norm / sum(norms.values()) for name, norm in norms.items()}
    assert line["gradient_share"] == pytest.approx(expected, rel=1e-4)


def stop_after(trainer, steps, number=signal.SIGTERM):
    """Makes the trainer's process be asked to stop during its ``steps``-th step from now."""
    left = [steps]

    def count(module, inputs):
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(number)

    return trainer.model.register_forward_pre_hook(count)


def final_state(trainer, selected):
    content = load_checkpoint(trainer.folder.last)
    best = load_checkpoint(trainer.folder.best)
    return content, best, selected.epoch, selected.results.as_dict()


def assert_same(a, b):
    """Equal to the bit, whatever it is made of."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for pair in zip(a, b, strict=True):
            assert_same(*pair)
    else:
        assert a == b


@pytest.mark.parametrize("score", [None, oracle_h])
@pytest.mark.parametrize("stops", [[1], [2], [3], [4], [8], [1, 1, 1, 1], [2, 3, 2]])
def test_a_stopped_training_goes_on_as_if_it_had_not(tmp_path, score, stops):
    """Stopped in the middle of an epoch or at its end, once or often; evaluations depend on the epoch alone."""

    def trainer_in(folder):
        trainer = make_trainer(tmp_path / folder, epochs=3, score=score)
        trainer.evaluate = lambda: ("predictions", make_results((0.2, 0.5, 0.1)[trainer.epoch - 1]))
        return trainer

    whole = trainer_in("whole")
    expected = final_state(whole, whole.train())
    for stop in stops:
        parts = trainer_in("parts")
        if (state := newest_checkpoint(parts.folder.last)) is not None:
            torch.manual_seed(17)  # whatever the new process starts with
            parts.go_on(state)
        hook = stop_after(parts, stop)
        with pytest.raises(Stopped):
            parts.train()
        hook.remove()
    parts = trainer_in("parts")
    parts.go_on(newest_checkpoint(parts.folder.last))
    selected = parts.train()
    if score and selected.predictions == "predictions":  # the best epoch may lie before the last stop
        selected = selected._replace(results=make_results(0.5))
    assert_same(final_state(parts, selected), expected)
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_a_stop_after_the_last_step_changes_nothing(tmp_path):
    trainer = make_trainer(tmp_path, epochs=2)
    stop_after(trainer, 2 * BATCHES)
    assert trainer.train().epoch == 2


@pytest.mark.parametrize("period", [1, 3])
@pytest.mark.parametrize("score", [None, oracle_h])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_stop_in_an_evaluation_loses_nothing(tmp_path, epoch, score, period):
    """The epoch is saved as it was before; a training that goes on begins with its evaluation."""

    def trainer_in(folder, asked=0):
        def test_batches(trainer, n):
            for batch in stoppable(range(5)):
                if (trainer.epoch, batch) == (asked, 2):
                    signal.raise_signal(signal.SIGTERM)
                assert (trainer.epoch, batch) != (asked, 3)

        return make_trainer(tmp_path / folder, (0.1,) * 9, epochs=3, score=score, checkpoint_period=period,
                            on_evaluate=test_batches)  # fmt: skip

    whole = trainer_in("whole")
    expected = final_state(whole, whole.train())
    parts = trainer_in("parts", asked=epoch)
    with pytest.raises(Stopped):
        parts.train()
    state = newest_checkpoint(parts.folder.last)
    assert (state["epoch"], state["step"], state["line"]["epoch"]) == (epoch, 0, epoch)
    assert [line["epoch"] for line in state["history"]] == list(range(1, epoch))
    assert parts.request.saved.startswith(f"{parts.folder.last} is as of the end of epoch {epoch}, saved at ")
    parts = trainer_in("parts")
    torch.manual_seed(17)  # whatever the new process starts with
    parts.go_on(state)
    assert_same(final_state(parts, parts.train()), expected)
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


class Slow(torch.utils.data.Dataset):
    """Its ``n``-th item never comes; the process is asked to stop meanwhile."""

    def __init__(self, data, n):
        self.data, self.left = data, n

    def __len__(self):
        return len(self.data)

    def __getitem__(self, key):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(60)
        return self.data[key]


@pytest.mark.parametrize(("item", "saved"), [(3, None), (9, (0, 1)), (8 * BATCHES + 5, (1, 0))])
def test_a_request_ends_the_waiting_for_data(tmp_path, item, saved):
    trainer = make_trainer(tmp_path)
    trainer.loader = DataLoader(Slow(trainer.loader.dataset, item), batch_sampler=trainer.loader.batch_sampler)
    with pytest.raises(Stopped):
        trainer.train()
    if saved is None:  # nothing was done that could be saved: the next start is a first one
        assert not trainer.folder.last.exists() and not trainer.request.saved
    else:
        state = load_checkpoint(trainer.folder.last)
        assert (state["epoch"], state["step"]) == saved


def test_an_accumulated_step_is_waited_for(tmp_path):
    """Its gradients are in no checkpoint."""
    trainer = make_trainer(tmp_path, epochs=1, accumulate=2)
    seconds = []

    class Asks(Slow):
        def __getitem__(self, key):
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGTERM)
                seconds.append(time.perf_counter())
            return self.data[key]

    trainer.loader = DataLoader(Asks(trainer.loader.dataset, 9), batch_sampler=trainer.loader.batch_sampler)
    with pytest.raises(Stopped):
        trainer.train()
    assert seconds and load_checkpoint(trainer.folder.last)["step"] == 2


def test_sigusr1_saves_and_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("REZSL"), "propagate", True)
    caplog.set_level(logging.INFO, "REZSL")
    trainer = make_trainer(tmp_path, checkpoint_period=9)
    places, save = [], trainer._save_last
    monkeypatch.setattr(trainer, "_save_last", lambda: (places.append((trainer.epoch, trainer.step)), save()))
    steps = []

    def ask(module, inputs):
        steps.append(0)
        if len(steps) in (1, BATCHES + 2):
            signal.raise_signal(signal.SIGUSR1)

    trainer.model.register_forward_pre_hook(ask)
    assert trainer.train().epoch == 2
    assert places == [(0, 1), (1, 2), (2, 0)]
    asked = [message for message in caplog.messages if message.endswith(", as asked")]
    assert [message.partition(" is as of the end of ")[2][:17] for message in asked] == [
        f"step {n} of epoch {n}" for n in (1, 2)
    ]
    assert [line["epoch"] for line in read_metrics(tmp_path)] == [1, 2]


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_are_as_before_once_training_is_over(tmp_path, number):
    before = [signal.getsignal(each) for each in SIGNALS]
    trainer = make_trainer(tmp_path)
    stop_after(trainer, 1, number)
    if number == signal.SIGUSR1:
        trainer.train()
    else:
        with pytest.raises(Stopped) as stopped:
            trainer.train()
        assert stopped.value.signal_number == number
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_checkpoints_by_the_clock_and_older_ones(tmp_path, monkeypatch):
    """A minute a step: every two minutes is every second step, besides the end of each epoch."""
    clock = [0.0]
    monkeypatch.setattr("REZSL.engine.trainer.time.monotonic", lambda: clock[0])
    trainer = make_trainer(tmp_path, epochs=2, checkpoint_minutes=2.0, keep=2)
    places, save = [], trainer._save_last

    def spy():
        places.append((trainer.epoch, trainer.step))
        save()

    monkeypatch.setattr(trainer, "_save_last", spy)
    trainer.model.register_forward_pre_hook(lambda module, inputs: clock.__setitem__(0, clock[0] + 60))
    trainer.train()
    assert places == [(0, 2), (1, 0), (1, 2), (2, 0)]
    kept = [load_checkpoint(tmp_path / f"last{n}.pth") for n in ("", "-1", "-2")]
    assert [(c["epoch"], c["step"]) for c in kept] == places[:0:-1]
    assert sorted(path.name for path in tmp_path.glob("last*")) == ["last-1.pth", "last-2.pth", "last.pth"]


@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_accumulated_gradients_are_those_of_the_batches_together(tmp_path, accumulate):
    """Of the last step, which has what is left of the five batches, too; written as a plain loop."""
    trainer = make_trainer(tmp_path, epochs=1, accumulate=accumulate, clip_norm=0.3)
    trainer.criterion.regression.statistics.p = trainer.criterion.regression.statistics.p2 = 0.0
    trainer.loader.batch_sampler.num_batches = 5
    model, criterion = copy.deepcopy(trainer.model), copy.deepcopy(trainer.criterion)
    batches = list(trainer.loader)
    trainer.train()

    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for start in range(0, 5, accumulate):
        inputs, labels = (torch.cat(part) for part in zip(*batches[start : start + accumulate], strict=True))
        optimizer.zero_grad()
        criterion.total(criterion(model(inputs), labels)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
    for ours, plain in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, plain)
    assert trainer.schedule.last_epoch == -(-5 // accumulate)


def test_an_accumulating_run_stops_between_steps(tmp_path):
    """Gradients are in no checkpoint: a run that is asked to stop goes on to the end of its step first."""
    trainer = make_trainer(tmp_path, epochs=1, accumulate=2)
    trainer.loader.batch_sampler.num_batches = 6
    calls = []

    def ask_in_the_third(module, inputs):
        calls.append(0)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)

    trainer.model.register_forward_pre_hook(ask_in_the_third)
    with pytest.raises(Stopped):
        trainer.train()
    assert len(calls) == load_checkpoint(tmp_path / "last.pth")["step"] == 4


def test_lines_of_metrics_are_tracked(tmp_path):
    lines = []
    trainer = make_trainer(tmp_path, track=lines.append)
    trainer.train()
    assert lines == trainer.folder.history


def test_the_last_good_checkpoint_survives_a_loss_that_is_not_finite(tmp_path):
    """Even where it is time to save just then."""
    trainer = make_trainer(tmp_path, epochs=2, checkpoint_minutes=1e-9)
    trainer.criterion.regression.statistics.validate = False
    calls = []

    def spoil(module, inputs):
        calls.append(0)
        if len(calls) == BATCHES + 2:
            module.head.regressor.weight.data.fill_(float("nan"))

    trainer.model.register_forward_pre_hook(spoil)
    with pytest.raises(RunError, match=r"not finite by step 2 of epoch 2 \(loss is nan"):
        trainer.train()
    state = load_checkpoint(tmp_path / "last.pth")
    assert (state["epoch"], state["step"]) == (1, 1)
    assert all(value.isfinite().all() for value in state["model"].values())

"""What is wrong with a checkpoint is told before anything of it is taken over."""

import copy
import random
import signal
import zipfile

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

from REZSL.data import RandomBatchSampler
from REZSL.engine import RunFolder, Trainer, load_checkpoint, newest_checkpoint, save_checkpoint
from REZSL.engine.content import state_form
from REZSL.evaluation import Curve, Results, Row
from REZSL.modeling import BasicNet, ReMSELoss, ZSLCriterion, ZSLModel, build_backbone
from REZSL.utils.errors import DataError, REZSLError, RunError, Stopped
from REZSL.utils.seeding import check_random_states, random_states

pytestmark = pytest.mark.long

BATCHES, EPOCHS = 3, 2


def sgd(parameters, fused=True):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, fused=fused)


def adamw(parameters, fused=True):
    return torch.optim.AdamW(parameters, lr=0.05, fused=fused)


def make_trainer(path, optimizer=sgd, epochs=EPOCHS, score=lambda results: results.gzsl["oracle"].H):
    """A training that two fused optimisers can make, whose first epoch is the best."""
    torch.manual_seed(0)
    signatures, labels = torch.rand(4, 3), torch.arange(12) % 4
    loader = DataLoader(
        TensorDataset(signatures[labels] @ torch.randn(3, 5), labels),
        batch_sampler=RandomBatchSampler(12, 4, BATCHES, seed=3),
        generator=torch.Generator(),
    )
    model = ZSLModel(build_backbone("features", feature_dim=5), BasicNet(5, 3))
    criterion = ZSLCriterion(signatures, ReMSELoss(4, 3, p=0.1, p2=0.5, weight_type="ema"), 20.0, (1.0, 0.5, 0.0, 0.0))
    optimizer = optimizer(model.parameters())

    def evaluate():
        point, best = np.zeros(1), (0.5, 0.25)[trainer.epoch % 2]
        return "predictions", Results(
            0.5, 0.25, {"gamma=0": Row(0, 0, 0, 0), "oracle": Row(0, 0, 0, best)}, Curve(point, point, point)
        )

    folder, cpu = RunFolder(path), torch.device("cpu")
    schedule = LambdaLR(optimizer, lambda step: 0.9**step)
    options = {"epochs": epochs, "device": cpu, "score": score}
    trainer = Trainer(model, criterion, optimizer, schedule, loader, evaluate, folder, **options)
    return trainer


def stop_in(trainer, step):
    left = [step]

    def count(module, inputs):
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGTERM)

    handle = trainer.model.register_forward_pre_hook(count)
    with pytest.raises(Stopped):
        trainer.train()
    handle.remove()


@pytest.fixture(params=[sgd, adamw])
def stopped(request, tmp_path):
    """``(build, path)``: a training that was stopped in its second epoch, and the only checkpoint it left."""

    def build(folder=tmp_path):
        return make_trainer(folder, request.param)

    stop_in(build(), BATCHES + 2)
    return build, tmp_path / "last.pth"


def assert_same(a, b):
    """Equal to the bit, whatever it is made of."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for pair in zip(a, b, strict=True):
            assert_same(*pair)
    else:
        assert a == b


def everything(trainer):
    """What a training changes, copied."""
    parts = (trainer.model, trainer.criterion, trainer.optimizer, trainer.schedule, trainer.scaler)
    states = [copy.deepcopy(part.state_dict()) for part in parts]
    rates = [group["lr"] for group in trainer.optimizer.param_groups]
    place = trainer.epoch, trainer.step, dict(trainer.sums), trainer.shares, trainer.best_score, trainer.folder.history
    return [*states, rates, copy.deepcopy(place), random_states()]


def places(value, path=()):
    """The path of every part of ``value``, itself first."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list | tuple) and len(value) < 50:  # not each number of a random state
        for n, part in enumerate(value):
            yield from places(part, (*path, n))


def replaced(value, path, new):
    """A copy of ``value`` whose part at ``path`` is ``new(part)``; ``ABSENT`` leaves it out."""
    if not path:
        return new(value)
    parts = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    parts[path[0]] = replaced(parts[path[0]], path[1:], new)
    if parts[path[0]] is ABSENT:
        del parts[path[0]]
    return parts if isinstance(value, dict) else type(value)(parts.values())


ABSENT = object()


def changes(part):
    """Other values for a part: of another type, shape, length or without a value."""
    others = [ABSENT, None, "text", {}, [], [part], -1, 10**30, 1.5, float("nan"), float("inf"), torch.zeros(2, 9)]
    if isinstance(part, torch.Tensor):
        others += [part.double(), part.half(), part[None], part.flatten()[:1], part.to("meta"), part.to_sparse()]
        if part.is_floating_point():
            others += [part * float("nan")]
    return others


@pytest.mark.parametrize(
    ("digest", "evaluated"), [(True, True), (False, True), (False, False)], ids=["digest", "of before", "not evaluated"]
)
def test_a_changed_checkpoint_is_refused_whole_or_gives_the_run(stopped, tmp_path, digest, evaluated):
    """Each part is left out or becomes something else: one error and nothing taken, or the run as it was to be.

    A checkpoint without a digest may say something else that is possible: then the run goes on with that.
    """
    build, path = stopped
    if not evaluated:
        build(tmp_path).train()  # whose last checkpoint was written before the evaluation of its last epoch
    content, best, draw = load_checkpoint(path), (tmp_path / "best.pth").read_bytes(), random.Random(0)
    said = torch.load(path, weights_only=True)["digest"]
    whole = build()
    whole.go_on(content)
    whole.train()
    tried = refused = 0
    for place in places(content):
        part = content
        for key in place:
            part = part[key]
        for new in draw.sample(changes(part), 2 if digest else 1):
            if not place and new is ABSENT:
                continue
            changed = replaced(content, place, lambda old, new=new: new)
            torch.save({**changed, "digest": said} if digest and isinstance(changed, dict) else changed, path)
            (tmp_path / "best.pth").write_bytes(best)
            trainer = build()
            before = everything(trainer)
            tried += 1
            try:
                newest_checkpoint(path, accept=trainer.go_on)
            except REZSLError as error:
                refused += 1
                assert str(error).count("last.pth") == 1
                assert "\n" not in str(error)
                assert len(str(error)) < 400 + len(str(path))
                assert_same(everything(trainer), before)
            else:
                goes_on(trainer, None if not digest else everything(whole)[:5])
    assert tried > 80, tried
    assert refused > 0.4 * tried, (refused, tried)


def goes_on(trainer, bits):
    """To the end or to a loss that is not finite; with ``bits``, to those."""
    try:
        trainer.train()
    except RunError:
        assert bits is None
    if bits is not None:
        assert_same(everything(trainer)[:5], bits)


def test_flipped_bits_and_missing_ends_are_found(stopped):
    _, path = stopped
    whole, written, draw = load_checkpoint(path), path.read_bytes(), random.Random(0)
    refused = 0
    for n in range(120):
        data = bytearray(written)
        if n % 4:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        else:
            del data[draw.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            content = load_checkpoint(path)
        except DataError as error:
            refused += 1
            assert "\n" not in str(error)
        else:  # a bit that nobody reads
            assert_same(content, whole)
    assert refused > 60


def test_compressed_members_are_refused(stopped):
    _, path = stopped
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    with pytest.raises(DataError, match=r"the checkpoint .*last\.pth .*compressed"):
        load_checkpoint(path)


def spoil(path, **parts):
    """Writes a checkpoint anew with other ``parts``, as a tool would that knows nothing of digests."""
    content = load_checkpoint(path)
    torch.save({**content, **parts}, path)
    return content


@pytest.mark.parametrize("shape", [(1,), (3, 4), (5, 3), (15,), (3, 5, 1)], ids=lambda shape: "x".join(map(str, shape)))
def test_a_misshapen_buffer_never_reaches_a_fused_optimizer(stopped, shape):
    build, path = stopped
    optimizer = load_checkpoint(path)["optimizer"]
    name = next(name for name, value in optimizer["state"][0].items() if value.dim())
    optimizer["state"][0][name] = torch.zeros(shape)
    spoil(path, optimizer=optimizer)
    trainer = build()
    before = everything(trainer)
    message = (
        rf"last.pth cannot be used: the optimizer's {name} of parameter 0 is .* float32, expected \(3, 5\) float32"
    )
    with pytest.raises(DataError, match=message):
        newest_checkpoint(path, accept=trainer.go_on)
    assert_same(everything(trainer), before)


def test_buffers_are_laid_out_as_parameters_are(stopped, tmp_path):
    """A fused optimiser reads them as one block: one number stretched over a shape, or rows that lie as columns."""
    build, path = stopped
    content = load_checkpoint(path)
    spread = torch.full((), 0.5).expand(3, 5)
    results = []
    for buffer in (spread.clone(), spread, spread.clone().t().contiguous().t()):
        state = copy.deepcopy(content)
        for values in state["optimizer"]["state"].values():
            for name, value in values.items():
                if value.shape == (3, 5):
                    values[name] = buffer
        torch.save(state, path)
        trainer = build()
        newest_checkpoint(path, accept=trainer.go_on)
        buffers = [v for values in trainer.optimizer.state.values() for v in values.values() if v.shape == (3, 5)]
        assert {each.stride() for each in buffers} == {(5, 1)}
        assert len({each.data_ptr() for each in buffers}) == len(buffers)
        trainer.train()
        results.append(trainer.model.state_dict())
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])


def test_a_parameter_that_had_no_gradient_yet_starts_from_nothing(stopped, tmp_path):
    """With the others' buffers there, a fused optimiser wants one of each."""
    build, path = stopped
    optimizer = load_checkpoint(path)["optimizer"]
    del optimizer["state"][1]
    spoil(path, optimizer=optimizer)
    trainer = build()
    newest_checkpoint(path, accept=trainer.go_on)
    assert all(
        not value.any() for value in trainer.optimizer.state[trainer.optimizer.param_groups[0]["params"][1]].values()
    )
    trainer.train()


@pytest.mark.parametrize("kind", [sgd, adamw])
@pytest.mark.parametrize("fused", [True, False])
def test_the_form_of_an_optimizers_state_is_that_after_a_step(kind, fused):
    parameters = [torch.nn.Parameter(torch.rand(shape)) for shape in ((3, 5), (4,), ())]
    optimizer = kind(parameters, fused)
    form = state_form(optimizer)
    assert not optimizer.state
    sum(p.sum() for p in parameters).backward()
    optimizer.step()
    state = optimizer.state_dict()["state"]
    assert {n: {key: (v.shape, v.dtype) for key, v in parts.items()} for n, parts in form.items()} == {
        n: {key: (v.shape, v.dtype) for key, v in parts.items()} for n, parts in state.items()
    }


def test_an_older_checkpoint_takes_the_place_of_one_that_does_not_fit(stopped, tmp_path, caplog, monkeypatch):
    build, path = stopped
    whole = build()
    whole.go_on(load_checkpoint(path))
    whole.train()
    first = build(tmp_path / "first")
    stop_in(first, 1)
    (tmp_path / "first" / "last.pth").rename(tmp_path / "last-1.pth")
    content = load_checkpoint(path)
    del content["model"]["head.regressor.bias"]
    save_checkpoint(path, **content)
    monkeypatch.setattr("logging.Logger.propagate", True, raising=False)
    trainer = build()
    newest_checkpoint(path, accept=trainer.go_on)
    told = "last.pth cannot be used: its model has no 'head.regressor.bias'; trying an older one"
    assert [told in line for line in caplog.messages].count(True) == 1
    assert (trainer.epoch, trainer.step) == (0, 1)
    trainer.train()
    assert_same(everything(trainer)[:5], everything(whole)[:5])


BEST = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-99]),
    "score": lambda path: spoil(path, score=float("nan")),
    "score of text": lambda path: spoil(path, score="0.5"),
    "epoch": lambda path: spoil(path, epoch=None),
    "model": lambda path: spoil(path, model={}),
    "NaN": lambda path: spoil(
        path,
        model={k: v * float("nan") if v.is_floating_point() else v for k, v in load_checkpoint(path)["model"].items()},
    ),
}


@pytest.mark.parametrize("change", BEST.values(), ids=BEST)
def test_a_damaged_best_checkpoint_is_told_before_anything_is_taken(stopped, tmp_path, change):
    build, path = stopped
    change(tmp_path / "best.pth")
    trainer = build()
    before = everything(trainer)
    with pytest.raises(RunError, match=r"^the checkpoint .*best\.pth.*: delete it to go on without the best of"):
        newest_checkpoint(path, accept=trainer.go_on)
    assert_same(everything(trainer), before)


def test_a_missing_best_checkpoint_is_told(stopped, tmp_path, caplog, monkeypatch):
    build, path = stopped
    (tmp_path / "best.pth").unlink()
    monkeypatch.setattr("logging.Logger.propagate", True, raising=False)
    trainer = build()
    newest_checkpoint(path, accept=trainer.go_on)
    assert "best.pth is missing: the best of the epochs from here on is kept" in caplog.text
    assert trainer.train().epoch == 2


def test_where_the_last_epoch_is_kept_no_best_checkpoint_is_needed(tmp_path):
    """It is the epoch that the training has come to, also where it is all there is to do."""
    make_trainer(tmp_path, score=None).train()
    model = load_checkpoint(tmp_path / "best.pth")["model"]
    (tmp_path / "best.pth").write_bytes(b"damaged")
    trainer = make_trainer(tmp_path, score=None)
    newest_checkpoint(tmp_path / "last.pth", accept=trainer.go_on)
    assert trainer.train().epoch == 2
    assert_same(load_checkpoint(tmp_path / "best.pth")["model"], model)


def test_a_training_that_is_longer_already_is_refused(stopped, tmp_path):
    _, path = stopped
    trainer = make_trainer(tmp_path, epochs=1)
    with pytest.raises(RunError, match=r"is to end after epoch 1, and .*last\.pth is beyond that"):
        newest_checkpoint(path, accept=trainer.go_on)


def test_plain_values_without_end_are_refused(tmp_path):
    """Lists in lists in lists, of which each is there twice; and one that is its own part."""
    bomb, own = [1.0], []
    for _ in range(40):
        bomb = [bomb, bomb]
    own.append(own)
    for name, value in (("bomb", bomb), ("own", own)):
        torch.save({"model": {}, "history": value}, tmp_path / f"{name}.pth")
        with pytest.raises(DataError, match=f"{name}.pth"):
            load_checkpoint(tmp_path / f"{name}.pth")


STATES = {
    "position": {"numpy": ("MT19937", torch.zeros(624, dtype=torch.int64), 10**6, 0, 0.0)},
    "keys": {"numpy": ("MT19937", torch.zeros(9, dtype=torch.int64), 1, 0, 0.0)},
    "gauss": {"numpy": ("MT19937", torch.zeros(624, dtype=torch.int64), 1, 1, float("nan"))},
    "python": {"python": (3, (1, 2, 3), None)},
    "index": {"python": (3, (*[1] * 624, 999), None)},
    "torch": {"torch": torch.zeros(5056, dtype=torch.uint8)},
    "short": {"torch": torch.zeros(16, dtype=torch.uint8)},
}


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
def test_random_states_that_are_none(change):
    before = random_states()
    with pytest.raises(ValueError, match="the random states are none: "):
        check_random_states(before | change)
    check_random_states(before)
    assert_same(random_states(), before)

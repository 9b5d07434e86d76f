"""ReMSE against its definition, written out image by image, class by class, attribute by attribute."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from REZSL.modeling import ReMSELoss, ReZSL, weighted_RegressLoss

REG_TYPES = ("MSE", "RMSE", "MAE")
ERRORS = {"MSE": lambda d: d * d, "RMSE": lambda d: math.sqrt(d * d + 1e-10), "MAE": abs}


def remse_by_hand(pred, target, labels, kept, p, p2, reg_type, reg_norm):
    """Returns E and W as lists (C, K), and the loss; ``kept`` is the E of classes that are not in the batch."""

    def rows(x):
        norms = [math.sqrt(sum(v * v for v in row)) if reg_norm else 1.0 for row in x.tolist()]
        return [[v / norm if norm else v for v in row] for row, norm in zip(x.tolist(), norms, strict=True)]

    error = [
        [ERRORS[reg_type](a - b) for a, b in zip(*pair, strict=True)]
        for pair in zip(rows(pred), rows(target), strict=True)
    ]
    labels, classes, attributes = labels.tolist(), range(len(kept)), range(pred.shape[1])
    mean = [list(row) for row in kept]
    weights = [[1.0 for _ in attributes] for _ in classes]
    for c in classes:
        images = [i for i, label in enumerate(labels) if label == c]
        for k in attributes:
            if images:
                mean[c][k] = sum(error[i][k] for i in images) / len(images)
    for c in classes:
        for k in attributes:
            if mean[c][k] > 0:
                across = min(mean[d][k] for d in classes if mean[d][k] > 0)
                within = min(mean[c][j] for j in attributes if mean[c][j] > 0)
                weights[c][k] = (1 + math.log(mean[c][k] / across)) ** p * (1 + math.log(mean[c][k] / within)) ** p2
    terms = [weights[c][k] * error[i][k] for i, c in enumerate(labels) for k in attributes]
    return mean, weights, sum(terms) / len(terms)


@st.composite
def batches(draw, fewest_attributes=1):
    """Class number and one to three batches; opposite signs keep pred - target well conditioned, zeros make E = 0."""
    num_classes, num_attributes = draw(st.integers(1, 5)), draw(st.integers(fewest_attributes, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    zeros = draw(st.sampled_from([0.0, 0.3, 1.0]))
    result = []
    labels = st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=6)
    for of_batch in draw(st.lists(labels, min_size=1, max_size=3)):
        shape = (len(of_batch), num_attributes)
        pred, target = (sign * torch.empty(shape).uniform_(-2, 2, generator=generator).exp() for sign in (1, -1))
        exact = torch.rand(shape, generator=generator) < zeros
        pred[exact], target[exact] = 0.0, 0.0
        result.append((pred, target, torch.tensor(of_batch)))
    return num_classes, num_attributes, result


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("reg_type", REG_TYPES)
@given(data=st.data(), p=st.floats(0, 1.5), p2=st.floats(0, 1.5), reg_norm=st.booleans(), keep=st.booleans())
@settings(max_examples=25, deadline=None)
def test_statistics_weights_and_loss_are_those_of_the_loop(reg_type, dtype, relative, data, p, p2, reg_norm, keep):
    num_classes, num_attributes, given_batches = data.draw(batches(fewest_attributes=2 if reg_norm else 1))
    rezsl = ReZSL(p, p2, num_attributes, num_classes, RegNorm=reg_norm, RegType=reg_type).to(dtype)
    regression = weighted_RegressLoss(reg_norm, reg_type)
    weight_type = "cross_batch" if keep else "in_batch"
    remse = ReMSELoss(num_classes, num_attributes, p, p2, reg_type, reg_norm, weight_type).to(dtype)
    update = rezsl.updateWeightsMatrix_crossBatch if keep else rezsl.updateWeightsMatrix_inBatch

    mean = [[0.0] * num_attributes] * num_classes
    for pred, target, labels in given_batches:
        pred, target = pred.to(dtype), target.to(dtype)
        kept = mean if keep else [[0.0] * num_attributes] * num_classes
        mean, weights, loss = remse_by_hand(pred, target, labels, kept, p, p2, reg_type, reg_norm)
        update(pred, target, labels)
        given_weights = rezsl.getWeights(len(labels), num_attributes, labels)
        assert rezsl.error_mean.tolist() == [pytest.approx(row, rel=relative, abs=0) for row in mean]
        assert rezsl.weights.tolist() == [pytest.approx(row, rel=relative, abs=0) for row in weights]
        assert given_weights.tolist() == [pytest.approx(weights[c], rel=relative, abs=0) for c in labels]
        assert regression(pred, target, given_weights).item() == pytest.approx(loss, rel=relative, abs=0)
        assert remse(pred, target, labels).item() == pytest.approx(loss, rel=relative, abs=0)
        assert rezsl.count.tolist() == [labels.tolist().count(c) for c in range(num_classes)]


def test_weights_of_a_case_worked_by_hand():
    """Errors 1, e, e^2 have logarithms 0, 1, 2; class 2 is not in the batch."""
    error = torch.tensor([[1, math.e], [math.e**2, 1]], dtype=torch.float64)
    rezsl = ReZSL(p=1, p2=2, att_dim=2, train_class_num=3, RegNorm=False, RegType="MAE").double()
    rezsl.updateWeightsMatrix_inBatch(error, torch.zeros(2, 2).double(), torch.tensor([0, 1]))
    expected = torch.tensor([[1, 2 * 2**2], [3 * 3**2, 1], [1, 1]], dtype=torch.float64)
    torch.testing.assert_close(rezsl.weights, expected)


def test_one_class_has_nothing_to_even_out_across_classes():
    rezsl = ReZSL(p=2.0, p2=0.0, att_dim=4, train_class_num=3)
    rezsl.updateWeightsMatrix_inBatch(torch.rand(5, 4), torch.rand(5, 4), torch.full((5,), 1))
    assert torch.equal(rezsl.weights, torch.ones(3, 4))


@pytest.mark.parametrize("weight_type", ["in_batch", "cross_batch"])
@pytest.mark.parametrize("reg_norm", [True, False])
@pytest.mark.parametrize("reg_type", REG_TYPES)
def test_zero_exponents_are_the_plain_loss_to_the_bit(reg_type, reg_norm, weight_type):
    remse = ReMSELoss(3, 5, 0.0, 0.0, reg_type, reg_norm, weight_type)
    for _ in range(2):
        pred, target, labels = torch.randn(8, 5, requires_grad=True), torch.rand(8, 5), torch.randint(3, (8,))
        loss, plain = remse(pred, target, labels), weighted_RegressLoss(reg_norm, reg_type)(pred, target)
        assert torch.equal(loss, plain)
        assert torch.equal(*(torch.autograd.grad(x, pred)[0] for x in (loss, plain)))


def numerical_gradient(function, x, step=1e-6):
    gradient = torch.zeros_like(x)
    for i in range(x.numel()):
        moved = torch.zeros(x.numel(), dtype=x.dtype)
        moved[i] = step
        moved = moved.view_as(x)
        gradient.view(-1)[i] = (function(x + moved) - function(x - moved)) / (2 * step)
    return gradient


@pytest.mark.parametrize("reg_type", REG_TYPES)
def test_gradient_takes_the_weights_for_constants(reg_type):
    pred, target, labels = torch.randn(4, 3).double(), torch.randn(4, 3).double(), torch.tensor([0, 0, 1, 2])
    zeros = [[0.0] * 3] * 3
    remse = ReMSELoss(3, 3, 1.0, 0.5, reg_type, reg_norm=True).double()
    weights = torch.tensor(remse_by_hand(pred, target, labels, zeros, 1.0, 0.5, reg_type, True)[1])[labels]

    def held(x):
        x, t = x / x.norm(dim=1, keepdim=True), target / target.norm(dim=1, keepdim=True)
        error = {"MSE": (x - t) ** 2, "RMSE": ((x - t) ** 2 + 1e-10).sqrt(), "MAE": (x - t).abs()}[reg_type]
        return (weights * error).mean()

    leaf = pred.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(remse(leaf, target, labels), leaf)
    torch.testing.assert_close(gradient, numerical_gradient(held, pred), rtol=1e-5, atol=1e-9)
    moving = numerical_gradient(lambda x: remse(x, target, labels), pred)
    assert (gradient - moving).abs().max() > 1e-3


def test_weights_pass_no_gradient_on_even_where_nobody_detached():
    pred, labels = torch.rand(2, 3, requires_grad=True), torch.tensor([0, 1])
    rezsl = ReZSL(0.5, 0.5, att_dim=3, train_class_num=2)
    rezsl.updateWeightsMatrix(pred, torch.rand(2, 3), labels)
    assert not rezsl.getWeights(2, 3, labels).requires_grad


def test_update_follows_weight_type():
    first, second = torch.tensor([0, 0]), torch.tensor([1, 1])
    kept = {}
    for weight_type in ("in_batch", "cross_batch"):
        rezsl = ReZSL(0.5, 0.5, att_dim=3, train_class_num=2, WeightType=weight_type)
        for labels in (first, second):
            rezsl.updateWeightsMatrix(torch.rand(2, 3), torch.rand(2, 3), labels)
        kept[weight_type] = rezsl.error_mean[0]
    assert (kept["in_batch"] == 0).all()
    assert (kept["cross_batch"] > 0).all()


@pytest.mark.parametrize("reg_norm", [True, False])
@pytest.mark.parametrize("weight_type", ["in_batch", "cross_batch", "ema"])
def test_in_evaluation_the_loss_is_plain_or_weighs_by_what_is_kept(weight_type, reg_norm):
    remse = ReMSELoss(3, 3, 0.5, 0.5, reg_norm=reg_norm, weight_type=weight_type)
    remse(torch.rand(4, 3), torch.rand(4, 3), torch.tensor([0, 0, 1, 1]))
    before = {name: value.clone() for name, value in remse.state_dict().items()}
    remse.eval()
    pred, target, labels = torch.rand(5, 3), torch.rand(5, 3), torch.tensor([1, 0, 1, 2, 2])
    weights = None if weight_type == "in_batch" else remse.statistics.weights[labels]
    for _ in range(2):
        assert torch.equal(remse(pred, target, labels), weighted_RegressLoss(reg_norm)(pred, target, weights))
    assert all(torch.equal(before[name], value) for name, value in remse.state_dict().items())


def test_the_evaluation_loss_of_the_same_predictions_does_not_hang_on_the_last_batch():
    remse, losses = ReMSELoss(2, 3, 0.5, 0.5), set()
    fixed = torch.rand(4, 3), torch.rand(4, 3), torch.tensor([0, 0, 1, 1])
    for _ in range(3):
        remse.train()(3 * torch.randn(4, 3), *fixed[1:])
        losses.add(remse.eval()(*fixed).item())
    assert len(losses) == 1


def test_early_stopping_can_follow_the_evaluation_loss():
    """A regression whose validation loss falls and, once it overfits, rises: the best epoch is the plain loss's."""
    torch.manual_seed(1)
    inputs, group = torch.randn(80, 12), torch.randint(3, (80,))
    target = inputs[:, :2] + 0.5 * torch.randn(80, 2)
    model = torch.nn.Sequential(torch.nn.Linear(12, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))
    remse, plain = ReMSELoss(3, 2, 0.5, 0.5), []
    optimizer, followed = torch.optim.Adam(model.parameters(), 1e-2), []
    for _ in range(60):
        for rows in torch.randperm(40).split(10):
            optimizer.zero_grad()
            remse.train()(model(inputs[rows]), target[rows], group[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            pred = model(inputs[40:])
            followed.append(remse.eval()(pred, target[40:], group[40:]).item())
            plain.append((pred - target[40:]).square().mean().item())
    assert followed == pytest.approx(plain)
    assert 0 < followed.index(min(followed)) < 59


def test_evaluation_names_labels_it_has_no_statistics_for():
    remse = ReMSELoss(2, 3, 0.5, 0.5, weight_type="ema").eval()
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1, got 1\.\.2"):
        remse(torch.rand(2, 3), torch.rand(2, 3), torch.tensor([1, 2]))


@pytest.mark.parametrize("weight_type", ["in_batch", "cross_batch", "ema"])
def test_regression_in_general_keeps_its_scale(weight_type):
    """Ten times too large is no perfect prediction, with one output or several; normalised it is."""
    labels = torch.tensor([0, 0, 1, 1])
    for num_attributes in (1, 3):
        target = torch.rand(4, num_attributes) + 1
        loss = ReMSELoss(2, num_attributes, 0.5, 0.5, weight_type=weight_type)(10 * target, target, labels)
        assert loss >= 81
    normalised = ReMSELoss(2, 3, 0.5, 0.5, reg_norm=True, weight_type=weight_type)
    assert normalised(10 * target, target, labels) == pytest.approx(0, abs=1e-12)


def test_one_attribute_cannot_be_normalised():
    message = r"a single attribute cannot be L2-normalised.* set reg_norm \(RegNorm, MODEL\.LOSS\.REG_NORM\) False"
    makers = (
        lambda: ReMSELoss(2, 1, 0.5, 0.5, reg_norm=True),
        lambda: ReMSELoss(2, 1, 0.5, 0.5, "BMC", reg_norm=True),
        lambda: ReZSL(0.5, 0.5, att_dim=1, train_class_num=2),
        lambda: weighted_RegressLoss(True)(torch.rand(4, 1), torch.rand(4, 1)),
        lambda: weighted_RegressLoss(True, "BMC")(torch.rand(4, 1), torch.rand(4, 1)),
    )
    for make in makers:
        with pytest.raises(ValueError, match=message):
            make()


def test_statistics_are_saved_and_move_along():
    remse, other = (ReMSELoss(2, 3, 0.5, 0.5, weight_type="cross_batch") for _ in range(2))
    remse(torch.rand(2, 3), torch.rand(2, 3), torch.tensor([0, 0]))
    other.load_state_dict(remse.state_dict())
    batch = torch.rand(2, 3), torch.rand(2, 3), torch.tensor([1, 1])
    assert torch.equal(other(*batch), remse(*batch))
    assert torch.equal(other.statistics.weights, remse.statistics.weights)
    moved = remse.to("meta").statistics
    assert {x.device.type for x in (moved.error_mean, moved.weights, moved.count)} == {"meta"}
    assert ReZSL(0, 0, 3, 2, device="meta").weights.device.type == "meta"


def test_statistics_stay_float32_for_bfloat16_predictions():
    pred, target, labels = torch.rand(6, 4).bfloat16(), torch.rand(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    low, high = (ReZSL(0.5, 0.5, att_dim=4, train_class_num=3) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        low.updateWeightsMatrix(pred, target, labels)
    high.updateWeightsMatrix(pred.float(), target, labels)
    assert low.error_mean.dtype == low.weights.dtype == torch.float32
    assert torch.equal(low.weights, high.weights)


def test_weights_stay_finite_where_errors_differ_by_more_than_a_float_can_say():
    """(1e-22)^2 is a subnormal float: 1 over it is no float any more."""
    rezsl = ReZSL(0.5, 0.5, att_dim=2, train_class_num=2, RegNorm=False)
    labels = torch.tensor([0, 1])
    rezsl.updateWeightsMatrix(torch.tensor([[1e-22, 1.0], [1.0, 1.0]]), torch.zeros(2, 2), labels)
    assert rezsl.getWeights(2, 2, labels).isfinite().all()


def test_int32_labels_do_as_well():
    pred, target, labels = torch.rand(4, 3), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    losses = [ReMSELoss(2, 3, 0.5, 0.5)(pred, target, x) for x in (labels, labels.int())]
    assert torch.equal(*losses)


def test_bmc_is_never_reweighted():
    pred, target, labels = torch.rand(4, 3), torch.rand(4, 3), torch.tensor([0, 0, 1, 1])
    assert torch.equal(
        ReMSELoss(2, 3, 1.0, 1.0, "BMC")(pred, target, labels), weighted_RegressLoss(False, "BMC")(pred, target)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RegType": "mse"}, "RegType is 'mse', expected one of MSE, RMSE, MAE, BMC"),
        ({"WeightType": "batch"}, "WeightType is 'batch', expected one of in_batch, cross_batch"),
        ({"p": -1}, "p and p2 must be >= 0, got -1 and 0"),
        ({"p2": -0.5}, "p and p2 must be >= 0, got 0 and -0.5"),
        ({"p": math.nan}, "p and p2 must be >= 0, got nan and 0"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ReZSL(**{"p": 0, "p2": 0, "att_dim": 3, "train_class_num": 2, **change})


@pytest.mark.parametrize(
    ("pred", "target", "labels", "message"),
    [
        ((2, 4), (2, 4), torch.tensor([0, 1]), r"be \(B, 3\) for labels \(B,\), got \(2, 4\), \(2, 4\) and \(2,\)"),
        ((2, 3), (3, 3), torch.tensor([0, 1]), r"got \(2, 3\), \(3, 3\) and \(2,\)"),
        ((2, 3), (2, 3), torch.tensor([0, 1, 1]), r"got \(2, 3\), \(2, 3\) and \(3,\)"),
        (
            (2, 3),
            (2, 3),
            torch.tensor([0.0, 1.0]),
            r"labels must be \(B,\) of int64 or int32, got \(2,\) of torch.float32",
        ),
        ((2, 3), (2, 3), torch.tensor([[0], [1]]), r"labels must be \(B,\) of int64 or int32, got \(2, 1\) of"),
    ],
)
def test_wrong_inputs_are_named(pred, target, labels, message):
    with pytest.raises(ValueError, match=message):
        ReZSL(0, 0, att_dim=3, train_class_num=2).updateWeightsMatrix(torch.rand(pred), torch.rand(target), labels)


def test_get_weights_checks_its_sizes():
    with pytest.raises(ValueError, match=r"getWeights\(3, 4\) for 2 labels and 4 attributes"):
        ReZSL(0, 0, att_dim=4, train_class_num=2).getWeights(3, 4, torch.tensor([0, 1]))


def test_the_published_example_runs_as_written():
    """The loop of the published README, on a problem that a linear model can solve."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    RegNorm, RegType, scls_num, cls_num, reg_label_dim = True, "MSE", 3, 5, 4

    class Model(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x)

    prototypes, signatures = torch.randn(scls_num, 6), torch.rand(scls_num, reg_label_dim)
    cls_labels = torch.arange(12) % scls_num
    images = prototypes[cls_labels] + 0.01 * torch.randn(12, 6)
    tr_dataloader = [[x.to(device) for x in (images, signatures[cls_labels], cls_labels)]] * 100
    model = Model(6, reg_label_dim).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses = []

    weighted_RegressLoss(RegNorm, RegType="MSE", device="cuda")  # holds no tensor: needs no GPU
    Reg_loss = weighted_RegressLoss(RegNorm, RegType="MSE", device=device)
    rezsl = ReZSL(p=0.1, p2=0.75, att_dim=reg_label_dim, train_class_num=scls_num,
                  test_class_num=cls_num, RegNorm=RegNorm, RegType=RegType, device=device)  # fmt: skip

    for batch_img, batch_reg_label, batch_cls_label in tr_dataloader:
        reg_pred = model(x=batch_img)
        n = reg_pred.shape[0]
        reg_label_dim = batch_reg_label.shape[1]
        rezsl.updateWeightsMatrix_crossBatch(reg_pred.detach(), batch_reg_label.detach(), batch_cls_label.detach())
        weights = rezsl.getWeights(n, reg_label_dim, batch_cls_label.detach()).detach()

        loss = Reg_loss(reg_pred, batch_reg_label, weights)

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.1 * losses[0]

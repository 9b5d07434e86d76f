"""The training losses of one step, term by term."""

import math

import pytest
import torch

from REZSL.modeling import ADLoss, AttentionNet, CPTLoss, GEMNet, HeadOutput, ReMSELoss, ZSLCriterion, class_scores

B, K, C, GRID = 4, 5, 3, (2, 3)
GROUPS = [[0, 1], [2, 3, 4]]


def make_criterion(*weights):
    torch.manual_seed(1)
    regression = ReMSELoss(C, K, p=0.5, p2=0.25)
    return ZSLCriterion(torch.rand(C, K), regression, 20.0, weights, groups=GROUPS, grid=GRID)


@pytest.fixture
def output():
    attention = torch.randn(B, K, 6).softmax(2)
    return HeadOutput(torch.randn(B, K, requires_grad=True), attention, torch.randn(K, 8))


def test_terms_and_total_by_hand(output):
    criterion, labels = make_criterion(1.0, 0.5, 0.25, 2.0), torch.tensor([0, 2, 2, 1])
    signatures = criterion.signatures
    expected = {
        "regression": ReMSELoss(C, K, p=0.5, p2=0.25)(output.attributes, signatures[labels], labels).item(),
        "ad": ADLoss(GROUPS)(output.queries).item(),
        "cpt": CPTLoss()(output.attention.view(B, K, *GRID)).item(),
    }
    scores = class_scores(output.attributes, signatures, 20.0).tolist()
    shares = [math.exp(row[label]) / sum(map(math.exp, row)) for row, label in zip(scores, labels, strict=True)]
    expected["ce"] = -sum(map(math.log, shares)) / B

    terms = criterion(output, labels)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
    total = expected["ce"] + 0.5 * expected["regression"] + 0.25 * expected["ad"] + 2 * expected["cpt"]
    assert criterion.total(terms).item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "names"),
    [
        ((1.0, 0.0, 0.0, 0.0), {"ce"}),
        ((0.0, 1.0, 0.0, 0.0), {"regression"}),
        ((1.0, 1.0, 0.0, 0.0), {"ce", "regression"}),
        ((1.0, 0.0, 0.1, 0.0), {"ce", "ad"}),
        ((1.0, 0.0, 0.0, 0.1), {"ce", "cpt"}),
    ],
)
def test_a_term_without_weight_is_left_out(output, weights, names):
    assert set(make_criterion(*weights)(output, torch.tensor([0, 1, 2, 0]))) == names


def test_a_head_without_attention_does_without_its_losses():
    terms = make_criterion(1.0, 1.0, 0.0, 0.0)(HeadOutput(torch.randn(B, K)), torch.tensor([0, 1, 2, 0]))
    assert set(terms) == {"ce", "regression"}


def test_the_gaze_is_regressed_by_its_peak():
    """As Liu et al. have it: the squared error of each attribute's highest attention, after the softmax."""
    torch.manual_seed(1)
    signatures, labels = torch.rand(C, K), torch.tensor([0, 2, 2, 1])
    regression = ReMSELoss(C, K, p=0, p2=0, reg_norm=False)
    criterion = ZSLCriterion(signatures, regression, 20.0, (1, 1, 0, 0), grid=GRID, regress_gaze=True)
    head = GEMNet(8, torch.randn(K, 4), 6)
    output = head(torch.randn(B, 6, 8))
    terms = criterion(output, labels)
    wanted = 0.0
    for image, label in enumerate(labels):
        for k in range(K):
            peak = max(output.attention[image, k].tolist())
            wanted += (peak - signatures[label, k].item()) ** 2 / (B * K)
    assert terms["regression"].item() == pytest.approx(wanted, rel=1e-5)
    of_output = ZSLCriterion(signatures, regression, 20.0, (1, 1, 0, 0))(output, labels)
    assert torch.equal(terms["ce"], of_output["ce"]) and not torch.equal(terms["regression"], of_output["regression"])
    gaze, regressor = torch.autograd.grad(
        terms["regression"], [head.gaze, head.regressor.weight], allow_unused=True, retain_graph=True
    )
    assert gaze.abs().sum() > 0 and regressor is None
    gaze, regressor = torch.autograd.grad(terms["ce"], [head.gaze, head.regressor.weight], allow_unused=True)
    assert gaze is None and regressor.abs().sum() > 0


@pytest.mark.parametrize("inside", [True, False])
def test_terms_are_float32_under_bfloat16_autocast(inside):
    """Whether the criterion is called inside the autocast region or after it."""
    head, labels = GEMNet(8, torch.randn(K, 4), 6), torch.tensor([0, 1, 2, 0])
    criterion, reference = make_criterion(1, 1, 1, 1), make_criterion(1, 1, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        output = head(torch.randn(B, 6, 8))
        terms = criterion(output, labels) if inside else None
    terms = terms or criterion(output, labels)
    assert output.attributes.dtype == torch.bfloat16
    expected = reference(HeadOutput(*(x.float() for x in output)), labels)
    assert {term.dtype for term in terms.values()} == {torch.float32}
    assert all(torch.equal(terms[name], expected[name]) for name in expected)
    assert criterion.regression.statistics.error_mean.dtype == torch.float32


def test_gradient_reaches_a_head_under_autocast():
    head = AttentionNet(8, torch.randn(K, 4), 6)
    criterion = make_criterion(1, 1, 0, 0)
    with torch.autocast("cpu", torch.bfloat16):
        output = head(torch.randn(B, 6, 8))
    criterion.total(criterion(output, torch.tensor([0, 1, 2, 0]))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_signatures_are_not_part_of_a_checkpoint_but_move_along():
    criterion = make_criterion(1, 1, 0, 0)
    assert "signatures" not in criterion.state_dict()
    assert "regression.statistics._error_mean" in criterion.state_dict()
    assert criterion.to("meta").signatures.device.type == "meta"

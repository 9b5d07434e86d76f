"""Heads against their plain forms, with every intermediate written out."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from REZSL.modeling import AttentionNet, BasicNet, GEMNet
from REZSL.modeling.heads import _products_and_mean

B, N, D, K, E, M, HIDDEN = 19, 5, 7, 3, 17, 11, 13  # primes: every product tells its factors


def make_attention_net(hid_dim=0, mode="add", learned=False, ratio=1.0):
    embeddings = torch.randn(K, E)
    return AttentionNet(D, nn.Parameter(embeddings) if learned else embeddings, M, hid_dim, mode, ratio)


def plain_attention_net(head, f, key_bias, ratio=1.0):
    """The definition: query, key, value, softmax, W_o, then z_k and v_k."""
    q = head.attribute_embeddings @ head.query.weight.T + head.query.bias  # (K, M)
    key = f @ head.key.weight.T + key_bias  # (B, N, M)
    value = f @ head.value.weight.T + head.value.bias  # (B, N, M)
    a = torch.softmax(q @ key.transpose(1, 2), 2)  # (B, K, N)
    r = ratio * ((a @ value) @ head.out.weight.T + head.out.bias)  # (B, K, D)
    mean = f.mean(1, keepdim=True).expand_as(r)
    z = mean + r if head.mode == "add" else torch.cat([mean, r], 2)
    if head.hidden is not None:
        z = z @ head.hidden.weight.T + head.hidden.bias
    return (head.regressor * z).sum(2), a


def largest_difference(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("mode", ["add", "concat"])
@pytest.mark.parametrize("hid_dim", [0, HIDDEN])
@pytest.mark.parametrize("learned", [False, True])
def test_attention_net_is_its_plain_form(hid_dim, mode, learned, dtype, relative):
    head = make_attention_net(hid_dim, mode, learned).to(dtype)
    tokens = torch.randn(B, N, D, dtype=dtype, requires_grad=True)
    key_bias = torch.randn(M, dtype=dtype, requires_grad=True)
    wanted = [tokens, *head.parameters()]
    cotangent = torch.randn(B, K, dtype=dtype)

    output = head(tokens)
    gradients = torch.autograd.grad(output.attributes, wanted, cotangent)
    plain, attention = plain_attention_net(head, tokens, key_bias)
    *plain_gradients, of_key_bias = torch.autograd.grad(plain, [*wanted, key_bias], cotangent)

    assert largest_difference(output.attributes, plain) < relative
    assert largest_difference(output.attention, attention) < relative
    for name, a, b in zip(["tokens", *dict(head.named_parameters())], gradients, plain_gradients, strict=True):
        assert largest_difference(a, b) < relative, name
    assert of_key_bias.abs().max() < relative * max(g.abs().max() for g in gradients)  # a key bias changes nothing


@pytest.mark.parametrize("mode", ["add", "concat"])
@pytest.mark.parametrize("hid_dim", [0, HIDDEN])
def test_the_attended_token_counts_by_its_ratio(hid_dim, mode):
    head, tokens = make_attention_net(hid_dim, mode, ratio=0.125).double(), torch.randn(B, N, D, dtype=torch.float64)
    plain, _ = plain_attention_net(head, tokens, torch.zeros(M, dtype=torch.float64), 0.125)
    torch.testing.assert_close(head(tokens).attributes, plain)


def test_attention_is_a_distribution_over_the_tokens():
    attention = make_attention_net()(torch.randn(B, N, D)).attention
    assert attention.shape == (B, K, N)
    assert (attention >= 0).all()
    torch.testing.assert_close(attention.sum(2), torch.ones(B, K))


class RecordSizes(TorchDispatchMode):
    """Notes the number of elements of every tensor that any operation gives out."""

    def __init__(self):
        super().__init__()
        self.sizes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        outputs = out if isinstance(out, (tuple, list)) else [out]
        self.sizes |= {x.numel() for x in outputs if isinstance(x, torch.Tensor)}
        return out


@pytest.mark.parametrize("mode", ["add", "concat"])
@pytest.mark.parametrize("hid_dim", [0, HIDDEN])
def test_no_tensor_per_image_and_attribute_or_token_is_formed(hid_dim, mode):
    """Neither (B, K, D), (B, K, M), (B, K, HIDDEN) nor (B, N, M), forward and backward; the plain form has them."""
    head, tokens = make_attention_net(hid_dim, mode, learned=True), torch.randn(B, N, D, requires_grad=True)
    large = {B * K * D, B * K * 2 * D, B * K * M, B * K * HIDDEN, B * N * M}
    with RecordSizes() as folded:
        head(tokens).attributes.sum().backward()
    with RecordSizes() as plain:
        plain_attention_net(head, tokens, torch.zeros(M))[0].sum().backward()
    assert not folded.sizes & large
    assert plain.sizes >= {B * K * D, B * K * M, B * N * M}
    assert B * K * N in folded.sizes  # the recorder sees the attention


@pytest.mark.parametrize(
    "normal",
    [AttentionNet(200, torch.randn(150, 4), 5).regressor, GEMNet(200, torch.randn(3, 150), 1).gaze],
    ids=["v_k", "gaze"],
)
def test_published_initial_values_are_standard_normal(normal):
    """30,000 draws: a mean of 0 +- 0.006, a deviation of 1 +- 0.004, 68.3 +- 0.3 % within one."""
    assert abs(normal.mean().item()) < 0.03
    assert abs(normal.std().item() - 1) < 0.02
    assert abs((normal.abs() < 1).float().mean().item() - 0.683) < 0.015


def test_linear_layers_start_as_torch_has_them():
    head = AttentionNet(64, torch.randn(3, 16), 256, 128)
    for layer in (head.query, head.key, head.value, head.out, head.hidden):
        bound = layer.in_features**-0.5
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_embeddings_train_only_as_a_parameter():
    assert "attribute_embeddings" in dict(make_attention_net(learned=True).named_parameters())
    fixed = make_attention_net()
    assert "attribute_embeddings" not in dict(fixed.named_parameters())
    assert "attribute_embeddings" in fixed.state_dict()


def test_unknown_mode_is_named():
    with pytest.raises(ValueError, match="mode is 'sum', expected add or concat"):
        make_attention_net(mode="sum")


def test_basic_net_by_hand():
    tokens = torch.randn(2, N, D)
    linear, hidden = BasicNet(D, K), BasicNet(D, K, HIDDEN)
    weight, bias = linear.parameters()
    torch.testing.assert_close(linear(tokens).attributes, tokens.sum(1) / N @ weight.T + bias)
    weight, bias, weight2, bias2 = hidden.parameters()
    inner = tokens.sum(1) / N @ weight.T + bias
    inner = torch.where(inner > 0, inner, 0.1 * inner)
    torch.testing.assert_close(hidden(tokens).attributes, inner @ weight2.T + bias2)
    assert hidden(tokens).attention is None


def test_gem_net_by_hand():
    """The class token, first of N, counts for the mean but is no place to gaze at."""
    embeddings, tokens = torch.randn(K, E), torch.randn(2, N, D)
    head = GEMNet(D, embeddings, num_positions=N - 1)
    output = head(tokens)
    torch.testing.assert_close(output.attributes, head.regressor(tokens.sum(1) / N))
    queries = torch.stack([sum(embeddings[k, e] * head.gaze[e] for e in range(E)) for k in range(K)])
    torch.testing.assert_close(output.queries, queries)
    for b in range(2):
        for k in range(K):
            logits = torch.stack([queries[k] @ tokens[b, n] for n in range(1, N)])
            torch.testing.assert_close(output.attention[b, k], F.softmax(logits, 0))


def test_gem_net_gazes_in_training_only():
    head, tokens = GEMNet(D, torch.randn(K, E), N), torch.randn(2, N, D)
    trained, evaluated = head(tokens), head.eval()(tokens)
    assert torch.equal(trained.attributes, evaluated.attributes)
    assert evaluated.attention is None and evaluated.queries is None


@pytest.mark.parametrize("frozen", [False, True])
def test_the_shared_gradient_of_products_and_mean_is_right(frozen):
    """To second order too, against finite differences."""
    tokens = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=not frozen)
    rows, others = (torch.randn(r, 4, dtype=torch.float64, requires_grad=True) for r in (5, 2))
    assert torch.autograd.gradcheck(_products_and_mean, (tokens, rows, others))
    assert torch.autograd.gradgradcheck(_products_and_mean, (tokens, rows, others))
    *products, mean = _products_and_mean(tokens, rows, others)
    for product, each in zip(products, (rows, others), strict=True):
        torch.testing.assert_close(product, torch.einsum("bnd,rd->bnr", tokens, each))
    torch.testing.assert_close(mean, tokens.sum(1) / 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_reaches_the_products(dtype):
    tokens, rows = torch.randn(2, 3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    with torch.autocast("cpu", dtype):
        products, _ = _products_and_mean(tokens, rows)
    assert products.dtype == dtype
    products.float().sum().backward()
    assert tokens.grad.dtype == rows.grad.dtype == torch.float32
    torch.testing.assert_close(tokens.grad, rows.detach().sum(0).expand(2, 3, 4), rtol=2e-2, atol=5e-2)

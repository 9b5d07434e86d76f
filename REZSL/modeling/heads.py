"""Heads: visual tokens (B, N, D) to predicted attributes (B, K)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


class HeadOutput(NamedTuple):
    """What a head returns.

    Attributes:
        attributes: (B, K) predicted attributes.
        attention: (B, K, N) each attribute's attention over the tokens, rows summing to 1; None without attention.
        queries: (K, D) the attribute queries in the space of the tokens; None without attention.
    """

    attributes: Tensor
    attention: Tensor | None = None
    queries: Tensor | None = None


class FoldedWeights(NamedTuple):
    """What of :class:`AttentionNet` follows from its weights alone.

    Attributes:
        queries: (K, D) the queries in the space of the tokens: a token's logit is the product with it.
        on_token: (K, D) v_k as it acts on a token that has the attention.
        on_mean: (K, D) v_k as it acts on the mean token.
        constant: (K,) what each output has without any token.
    """

    queries: Tensor
    on_token: Tensor
    on_mean: Tensor
    constant: Tensor


class BasicNet(nn.Module):
    """Mean token, then Linear, or Linear - LeakyReLU(0.1) - Linear with a hidden layer.

    Args:
        dim: D, width of the tokens.
        num_attributes: K.
        hid_dim: width of the hidden layer; 0: none.
    """

    def __init__(self, dim: int, num_attributes: int, hid_dim: int = 0) -> None:
        super().__init__()
        if hid_dim:
            layers = (nn.Linear(dim, hid_dim), nn.LeakyReLU(0.1), nn.Linear(hid_dim, num_attributes))
            self.regressor = nn.Sequential(*layers)
        else:
            self.regressor = nn.Linear(dim, num_attributes)

    def forward(self, tokens: Tensor) -> HeadOutput:
        """Regresses the attributes of ``tokens`` (B, N, D)."""
        return HeadOutput(self.regressor(tokens.mean(1)))


class AttentionNet(nn.Module):
    r"""Each attribute attends to the tokens with its own query (Ye et al., TIP 2023).

    With word vectors :math:`w_k`, :math:`q_k = W_q w_k`, and :math:`f_n` the tokens,

    .. math::
        a_{kn} = \mathrm{softmax}_n(q_k \cdot W_k f_n), \quad
        r_k = W_o \sum_n a_{kn} W_v f_n, \quad
        o_k = v_k \cdot (\bar f + \rho r_k)

    or :math:`v_k \cdot (W_h(\bar f + \rho r_k) + b)` with a hidden layer; ``mode="concat"`` takes
    :math:`[\bar f; \rho r_k]` for the sum. The softmax is not scaled by :math:`1/\sqrt{M}`. Everything after it is
    linear in the tokens, so the query side folds into two (K, D) matrices: one gives the attention logits of every
    token, the other its contribution to every output. Neither a (B, K, D) nor a (B, N, M) tensor is formed. The keys
    have no bias: it would add the same to all logits of a query, which the softmax takes away again.

    Args:
        dim: D, width of the tokens.
        attribute_embeddings: (K, E) word vectors; a ``nn.Parameter`` is trained along, a tensor is fixed.
        channel: M, width of queries, keys and values.
        hid_dim: width of the hidden layer; 0: none.
        mode: ``add`` or ``concat``.
        ratio: :math:`\rho`, the factor of the attended token.
    """

    def __init__(
        self,
        dim: int,
        attribute_embeddings: Tensor,
        channel: int = 1024,
        hid_dim: int = 0,
        mode: str = "add",
        ratio: float = 1.0,
    ) -> None:
        super().__init__()
        if mode not in ("add", "concat"):
            raise ValueError(f"mode is {mode!r}, expected add or concat")
        num_attributes, embedding_dim = attribute_embeddings.shape
        _set_embeddings(self, attribute_embeddings)
        self.query = nn.Linear(embedding_dim, channel)
        self.key = nn.Linear(dim, channel, bias=False)
        self.value = nn.Linear(dim, channel)
        self.out = nn.Linear(channel, dim)
        self.mode, self.ratio = mode, ratio
        joint = dim * (2 if mode == "concat" else 1)
        self.hidden = nn.Linear(joint, hid_dim) if hid_dim else None
        self.regressor = nn.Parameter(torch.randn(num_attributes, hid_dim or joint))

    def forward(self, tokens: Tensor, folded: FoldedWeights | None = None) -> HeadOutput:
        """Regresses the attributes of ``tokens`` (B, N, D), with what :meth:`fold` gave, where it was asked before."""
        queries, on_token, on_mean, constant = folded or self.fold()
        logits, contributions, mean = _products_and_mean(tokens, queries, on_token)  # (B, N, K) twice, (B, D)
        attention = logits.softmax(1)
        attributes = (attention * contributions).sum(1) + mean @ on_mean.T + constant  # (B, K)
        return HeadOutput(attributes, attention.transpose(1, 2), queries)

    def fold(self) -> FoldedWeights:
        """Computes what follows from the weights alone: once a step, or once where they do not change."""
        on_mean, on_attended, constant = self._regressors()
        queries = self.query(self.attribute_embeddings) @ self.key.weight  # (K, D)
        on_value = on_attended @ self.out.weight  # (K, M)
        on_token = on_value @ self.value.weight  # (K, D)
        constant = constant + on_value @ self.value.bias + on_attended @ self.out.bias  # (K,)
        return FoldedWeights(queries, on_token, on_mean, constant)

    def _regressors(self) -> tuple[Tensor, Tensor, Tensor]:
        """v_k as it acts on the mean token (K, D), on the attended token (K, D), and alone (K,)."""
        joint, constant = self.regressor, self.regressor.new_zeros(())
        if self.hidden is not None:
            joint, constant = self.regressor @ self.hidden.weight, self.regressor @ self.hidden.bias
        on_mean, on_attended = (joint, joint) if self.mode == "add" else joint.chunk(2, dim=1)
        if self.ratio != 1:  # a factor of 1 would still put the sums of the gradient in another order
            on_attended = self.ratio * on_attended
        return on_mean, on_attended, constant


def _products_and_mean(tokens: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
    """``tokens @ rows.T`` (B, N, R) for each of ``rows`` (R, D), and the mean token (B, D), as autocast has them."""
    device = tokens.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        tokens, *rows = (x.to(dtype) for x in (tokens, *rows))
    return _ProductsAndMean.apply(tokens, *rows)


class _ProductsAndMean(torch.autograd.Function):
    """All of them, with one (B, N, D) gradient: autograd alone would make one for each and then their sum."""

    @staticmethod
    def forward(ctx: FunctionCtx, tokens: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(tokens, *rows)
        return *(tokens @ each.T for each in rows), tokens.mean(1)

    @staticmethod
    def backward(ctx: FunctionCtx, *of_outputs: Tensor) -> tuple[Tensor | None, ...]:
        tokens, *rows = ctx.saved_tensors
        *of_products, of_mean = of_outputs
        of_tokens, of_rows = None, [None] * len(rows)
        if ctx.needs_input_grad[0]:
            of_tokens = (of_mean / tokens.shape[1])[:, None].repeat(1, tokens.shape[1], 1)
            for of_product, each in zip(of_products, rows, strict=True):
                of_tokens.flatten(0, 1).addmm_(of_product.flatten(0, 1), each)
        if any(ctx.needs_input_grad[1:]):
            of_rows = [of_product.flatten(0, 1).T @ tokens.flatten(0, 1) for of_product in of_products]
        return of_tokens, *of_rows


class GEMNet(nn.Module):
    """Linear regression on the mean token, with a gaze per attribute that only the training losses see.

    Liu et al., *Goal-Oriented Gaze Estimation for Zero-Shot Learning*, CVPR 2021: the queries are word vectors times a
    matrix (E, D); their softmax over the grid positions is the gaze, on which ADLoss, CPTLoss and, in their own code,
    the regression loss act.

    Args:
        dim: D, width of the tokens.
        attribute_embeddings: (K, E) word vectors; a ``nn.Parameter`` is trained along, a tensor is fixed.
        num_positions: how many of the last tokens are grid positions (a ViT's class token is none).
    """

    def __init__(self, dim: int, attribute_embeddings: Tensor, num_positions: int) -> None:
        super().__init__()
        num_attributes, embedding_dim = attribute_embeddings.shape
        _set_embeddings(self, attribute_embeddings)
        self.num_positions = num_positions
        self.gaze = nn.Parameter(torch.randn(embedding_dim, dim))
        self.regressor = nn.Linear(dim, num_attributes)

    def forward(self, tokens: Tensor) -> HeadOutput:
        """Regresses the attributes of ``tokens`` (B, N, D); attention (B, K, positions) in training mode."""
        attributes = self.regressor(tokens.mean(1))
        if not self.training:
            return HeadOutput(attributes)
        queries = self.attribute_embeddings @ self.gaze  # (K, D)
        attention = (queries @ tokens[:, -self.num_positions :].transpose(1, 2)).softmax(2)
        return HeadOutput(attributes, attention, queries)


def _set_embeddings(head: nn.Module, attribute_embeddings: Tensor) -> None:
    if isinstance(attribute_embeddings, nn.Parameter):
        head.attribute_embeddings = attribute_embeddings
    else:
        head.register_buffer("attribute_embeddings", attribute_embeddings.float())

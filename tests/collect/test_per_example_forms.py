"""Products of factors, what they cost, and losses read off a graph: what per-example norms are made of."""

import math

import pytest
import torch
from torch.nn import functional

from gnoise.collect.per_example import Method
from gnoise.collect.per_example.cost import choose
from gnoise.collect.per_example.form import Outer, outer_sq_norms
from gnoise.collect.per_example.losses import example_losses


@pytest.mark.parametrize("tokens", [1, 3, 127])
def test_both_ways_of_squaring_outer_products_agree(tokens: int) -> None:
    generator = torch.Generator().manual_seed(tokens)
    sides = [torch.randn(3, tokens, width, generator=generator, dtype=torch.float64) for width in (5, 1025)]
    expected = torch.einsum("btr,btc->brc", *sides).square().sum((1, 2))
    for method in (Method.GRAM, Method.SIMULTANEOUS):
        torch.testing.assert_close(outer_sq_norms(Outer(*sides), method), expected, rtol=1e-12, atol=0)


def test_cost_model_prefers_gram_matrices_for_few_tokens() -> None:
    assert choose(16, 768, 768) is Method.GRAM
    assert choose(2048, 768, 768) is Method.SIMULTANEOUS
    assert math.isclose(float(outer_sq_norms(Outer(torch.ones(1, 1, 2), torch.ones(1, 1, 3)))), 6.0)
    assert choose(40, 112, 112) is Method.GRAM
    assert choose(60, 112, 112, summed=True) is Method.SIMULTANEOUS


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("method", [Method.GRAM, Method.SIMULTANEOUS])
def test_outer_products_are_added_up_on_request(method: Method, summed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(5, 3, width, generator=generator, dtype=torch.float64) for width in (200, 300))
    total = torch.ones(200, 300, dtype=torch.float64)
    outer_sq_norms(Outer(left, right), method, total_RC=total if summed else None)
    expected = 1 + torch.einsum("btr,btc->rc", left, right) if summed else torch.ones_like(total)
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=1e-12)


def test_losses_of_examples_are_read_off_the_graph() -> None:
    torch.manual_seed(16)
    logits = torch.randn(4, 3, 7, requires_grad=True)
    targets = torch.randint(0, 7, (4, 3))
    targets[1, :2] = -100
    read = example_losses(functional.cross_entropy(logits.flatten(0, 1), targets.flatten()), 4)
    over_classes = example_losses(functional.cross_entropy(logits.mT, targets), 4)
    expected = torch.stack([functional.cross_entropy(a, b) for a, b in zip(logits, targets, strict=True)])
    for found in (read, over_classes):
        assert found is not None
        torch.testing.assert_close(found.of_each, expected.detach())
        torch.testing.assert_close(found.weights, torch.tensor([3, 1, 3, 3]) / 10)
    squared = example_losses(functional.mse_loss(logits, torch.zeros(4, 3, 7)), 4)
    assert squared is not None
    torch.testing.assert_close(squared.of_each, logits.detach().square().mean((1, 2)))
    for other in (functional.cross_entropy(logits.mT, targets, reduction="sum"), logits.square().mean()):
        assert example_losses(other, 4) is None

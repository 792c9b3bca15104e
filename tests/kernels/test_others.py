import copy
import math

import pytest
import torch
from torch import nn

from gnoise.errors import UserError
from gnoise.kernels import Order, per_example_linear_norms, remedied_adam_moments_, sketch
from gnoise.kernels.entrywise_remedies import RULES
from gnoise.kernels.linear_norms import cheaper
from gnoise.remedies import clip_value, shrink, wrap
from gnoise.stats.sketch import sketch_from_counts, sketch_from_values
from tests.kernels.norm_cases import DTYPES
from tests.kernels.other_cases import SHAPES, TOKENS, adam_case, awkward_values, factors, linear_truth


@pytest.mark.parametrize("order", [None, *Order])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_norms_agree_with_float64(
    order: Order | None, shape: tuple[int, int], tokens: tuple[int, ...], dtype: str
) -> None:
    grad, x = factors(tokens, *shape, DTYPES[dtype])
    for ours, true in zip(
        per_example_linear_norms(grad, x, bias=True, order=order), linear_truth(grad, x), strict=True
    ):
        torch.testing.assert_close(ours.double(), true, rtol=1e-5, atol=0.0)


def test_linear_norms_are_those_of_autograd_per_example() -> None:
    layer, x = nn.Linear(5, 4).double(), torch.randn(3, 6, 5, dtype=torch.float64)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    y = layer(x)
    (grad,) = torch.autograd.grad((weights[:, None, None] * y.sin()).sum(), y)
    found = per_example_linear_norms(grad, x, bias=True, example_weights=weights)
    alone = [torch.autograd.grad(layer(x[i]).sin().sum(), list(layer.parameters())) for i in range(3)]
    for place, ours in enumerate(found):
        expected = torch.stack([each[place].square().sum() for each in alone])
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0.0)


def test_fewer_multiplications_are_chosen() -> None:
    assert cheaper(1, 768, 768) is Order.FEATURES
    assert cheaper(1024, 768, 768) is Order.TOKENS


def test_linear_errors_say_what_to_try() -> None:
    grad, x = factors((4,), 3, 3, torch.float32)
    with pytest.raises(UserError, match="the layer's input and the gradient of its output"):
        per_example_linear_norms(grad, x[:, :2])
    with pytest.raises(UserError, match="one weight for each of 3 examples"):
        per_example_linear_norms(grad, x, example_weights=torch.ones(2))


def test_sketch_has_the_buckets_of_the_statistics() -> None:
    values, scale = awkward_values()
    pairs = zip(sketch(values, scale), (values, values / scale), strict=True)
    for counted, expected in pairs:
        ours = sketch_from_counts(counted.counts.numpy(), int(counted.zeros))
        theirs = sketch_from_values(expected.numpy())
        assert ours.buckets.tolist() == theirs.buckets.tolist()
        assert ours.counts.tolist() == theirs.counts.tolist()
        assert (ours.zeros, ours.nonfinite) == (theirs.zeros, theirs.nonfinite)
    with pytest.raises(UserError, match=r"scale\.expand_as"):
        sketch(values, scale[:3])
    with pytest.raises(UserError, match=r"values\.float"):
        sketch(values.long())


def test_moments_at_an_infinite_scale_are_adams_own() -> None:
    torch.manual_seed(0)
    model = nn.Linear(7, 5)
    optimizer = torch.optim.Adam(model.parameters())
    for rule in RULES:
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        before = copy.deepcopy([optimizer.state[p] for p in model.parameters()])
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        remedied_adam_moments_(
            [p.grad for p in model.parameters()],
            [s["exp_avg"] for s in before],
            [s["exp_avg_sq"] for s in before],
            rule=rule,
            scales=torch.full((2,), math.inf),
        )
        for mine, parameter in zip(before, model.parameters(), strict=True):
            assert torch.equal(mine["exp_avg"], optimizer.state[parameter]["exp_avg"])
            assert torch.equal(mine["exp_avg_sq"], optimizer.state[parameter]["exp_avg_sq"])


@pytest.mark.parametrize("rule", RULES)
def test_moments_are_those_of_the_remedy_around_adam(rule: str) -> None:
    grads, firsts, seconds, scales = adam_case()
    parameters = [nn.Parameter(torch.zeros_like(g)) for g in grads]
    optimizer = torch.optim.Adam(parameters, lr=0.0)
    each = scales.tolist()
    wrap(optimizer, clip_value(each) if rule == "clip_value" else shrink(rule, each))
    for moments in (firsts, seconds):
        for moment in moments:
            moment.zero_()
    for _ in range(3):
        remedied_adam_moments_(grads, firsts, seconds, rule=rule, scales=scales)
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad.clone()
        optimizer.step()
    for first, second, parameter in zip(firsts, seconds, parameters, strict=True):
        torch.testing.assert_close(first, optimizer.state[parameter]["exp_avg"], rtol=2e-6, atol=1e-7)
        torch.testing.assert_close(second, optimizer.state[parameter]["exp_avg_sq"], rtol=2e-6, atol=1e-9)


def test_moment_errors_say_what_to_try() -> None:
    grads, firsts, seconds, scales = adam_case()
    with pytest.raises(UserError, match="try rule='saturating'"):
        remedied_adam_moments_(grads, firsts, seconds, rule="cubic", scales=scales)
    with pytest.raises(UserError, match="a scale for each of 5 gradients"):
        remedied_adam_moments_(grads, firsts, seconds, rule="quartic", scales=scales[:2])
    with pytest.raises(UserError, match="exp_avg and exp_avg_sq"):
        remedied_adam_moments_(grads, firsts[::-1], seconds, rule="quartic", scales=scales)

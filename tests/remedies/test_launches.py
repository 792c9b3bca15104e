"""What a step costs on a GPU, as far as it can be seen without one: launches, and waits for it."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gnoise.formulas import lower_spikes
from gnoise.remedies import (
    REMEDIES,
    Listed,
    Transform,
    adaclip,
    adagc,
    agc,
    chain,
    clip_coordinates,
    clip_global_norm,
    clip_norm,
    clip_value,
    momentum,
    shrink,
    stabilize,
    zclip,
)
from gnoise.remedies.lists import beside
from gnoise.remedies.rows import limits_of_rows, saturate_rows
from gnoise.remedies.shrink import _FORMS
from gnoise.remedies.stable_spam import lower_without_waiting

SHAPES = ((300, 100), (33, 17), (5,), (1,), (4, 3, 2, 2), (), (0, 3))


def without_memory(*shapes: tuple[int, ...]) -> list[Tensor]:
    """Make tensors which go the way of a GPU's."""
    return [torch.empty(shape, device="meta") for shape in shapes]


class Launches(TorchDispatchMode):
    """Counts operations on a device other than the CPU, one a tensor where ``torch._foreach`` has no kernel for many.

    What only looks at memory in another way is none.
    """

    none = ("view", "slice", "detach", "unbind", "expand", "select", "squeeze", "alias", "strided", "split", "unfold")
    makes = ("empty",)

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, found)) if isinstance(x, Tensor)]
        away = any(x.device.type != "cpu" for x in tensors)
        if away and not any(name in str(func) for name in (*self.none, *self.makes)):
            self.count += len(args[0]) if self.one_by_one(func, args) else 1
        return found

    @staticmethod
    def one_by_one(func, args) -> bool:
        lists = [x for x in args if isinstance(x, list | tuple) and x and isinstance(x[0], Tensor)]
        pairs = [(x, y) for other in lists[1:] for x, y in zip(lists[0], other, strict=True)]
        return "_foreach_" in str(func) and any(x.shape != y.shape for x, y in pairs)


class Waits(TorchDispatchMode):
    """Notes operations that make the host wait for a GPU: asking for a value, or copying from unpinned memory.

    Lists as indices and tensors made of lists wait as well, but copy where no mode can see it.
    """

    asks = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if name in self.asks and any(x.is_meta for x in given):
            self.found.append(name)
        after = func(*args, **(kwargs or {}))
        made = [x for x in tree_leaves(after) if isinstance(x, Tensor)]
        across = len({x.is_meta for x in given + made if x.ndim or name in ("_to_copy", "copy_")}) > 1
        if across and name != "empty_like":
            self.found.append(name)
        if name.startswith("index") and any(x.dtype == torch.bool for x in given[1:]):
            self.found.append("a mask as index")
        return after


def waits_of(transform: Transform, params: list[Tensor]) -> list[str]:
    _, state = transform.update(without_memory(*(x.shape for x in params)), transform.init(params), params)
    grads = without_memory(*(x.shape for x in params))
    with Waits() as waits:
        transform.update(grads, state, params)
    return waits.found


@pytest.mark.parametrize("entry", REMEDIES, ids=[f"{i}-{x.name}" for i, x in enumerate(REMEDIES)])
def test_no_step_waits_for_a_gpu(entry: Listed) -> None:
    assert waits_of(entry.usual, without_memory(*SHAPES)) == []


@pytest.mark.parametrize("settings", [{"fused": True}, {"foreach": True}], ids=str)
def test_adams_own_moments_bound_entries_without_a_wait(settings: dict[str, bool]) -> None:
    params = [torch.nn.Parameter(x) for x in without_memory((300, 100), (5,))]
    adam = torch.optim.AdamW(params, foreach=True)
    for x in params:
        counter = torch.tensor(3.0, device="meta" if "fused" in settings else "cpu")
        adam.state[x] = {"step": counter, "exp_avg_sq": torch.zeros_like(x)}
    assert waits_of(clip_coordinates(adam=adam), params) == []


def test_scales_that_were_given_and_gradients_that_are_missing_make_nothing_wait() -> None:
    transform = chain(clip_value([0.5] * 3), shrink(rows=True, form="saturating"), stabilize(), momentum())
    params = without_memory((300, 100), (5,), (7, 4))
    state = transform.init(params)
    found: list[list[str]] = []
    for _ in range(2):
        with Waits() as waits:
            grads = [torch.empty_like(x) for x in params[1:]]
            _, part = transform.update(grads, state.take([1, 2]), params[1:])
            state = state.put([1, 2], part)
        found.append(waits.found)
    assert found[1] == []  # in the first step constants are copied


def test_a_wait_is_noticed() -> None:
    (x,) = without_memory((5,))
    with Waits() as waits:
        x[torch.tensor([0, 1])]
        x[torch.zeros(5, dtype=torch.bool, device="meta")] = 1.0
        torch.zeros(5).to("meta")
        with pytest.raises(RuntimeError):
            float(x[0])
    assert waits.found == ["index", "a mask as index", "_to_copy", "_local_scalar_dense"]


@pytest.mark.parametrize(
    ("transform", "most"),
    [
        (clip_value(0.5), 3),
        (clip_value(), 75),
        (shrink("rational", 0.5), 5),
        (shrink("quartic", 0.5), 6),
        (shrink("saturating", 0.5), 6),
        (shrink("rational"), 75),
        (clip_global_norm(1.0), 16),
        (clip_norm(1.0), 18),
        (stabilize(), 40),
        (adagc(), 32),
        (zclip(), 45),
        (adaclip(), 45),
    ],
)
def test_hundreds_of_tensors_take_a_handful_of_launches(transform: Transform, most: int) -> None:
    assert launches_of(transform, [(64, 32)] * 2) == launches_of(transform, [(64, 32)] * 600) <= most


@pytest.mark.parametrize(
    ("transform", "each"),
    [
        (clip_value(), 1),
        (shrink("saturating"), 1),
        (clip_norm(1.0), 1),
        (stabilize(), 1),
        (adagc(), 1),
        (agc(), 3),
        (shrink("saturating", rows=True), 1),
        (adaclip(), 4),
    ],
)
def test_a_large_tensor_takes_a_few_launches_of_its_own(transform: Transform, each: int) -> None:
    few, many = (launches_of(transform, [(256, 256)] * number + [(64,)] * 2) for number in (10, 110))
    assert (many - few) / 100 == each


def launches_of(transform: Transform, shapes: list[tuple[int, ...]]) -> int:
    params = without_memory(*shapes)
    _, state = transform.update(without_memory(*shapes), transform.init(params), params)
    with Launches() as launches:
        transform.update(without_memory(*shapes), state, params)
    return launches.count


def heavy(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.empty(shape).cauchy_(generator=generator).to(dtype) for shape in SHAPES]


@pytest.mark.parametrize("rows", [False, True])
def test_numbers_lie_beside_their_tensors(rows: bool) -> None:
    mixed = [x.to(d) for d in (torch.float32, torch.bfloat16, torch.float64) for x in heavy()]
    mixed.append(torch.ones(400, 300).T)
    units = [len(x) if rows and x.ndim > 1 else 1 for x in mixed]
    numbers = torch.arange(1.0, sum(units) + 1.0)
    found = [x.clone() for x in mixed]
    for parts, (factors, same) in beside(found, numbers, numbers, rows=rows):
        assert all(a.equal(b) for a, b in zip(factors, same, strict=True))
        torch._foreach_mul_(parts, factors)
    for x, y, own in zip(mixed, found, numbers.split(units), strict=True):
        expected = x * own.view(-1, *[1] * (x.ndim - 1)) if x.ndim else x * own[0]
        assert torch.equal(y, expected.to(x.dtype))


def test_where_no_tensor_has_entries_nothing_lies_beside() -> None:
    assert list(beside([torch.zeros(0), torch.zeros(0, 3)], torch.ones(2))) == []
    params = without_memory((0, 3), (0,))
    for transform in (agc(), clip_norm(1.0), adaclip(), clip_value(), shrink("saturating", rows=True)):
        transform.update(without_memory((0, 3), (0,)), transform.init(params), params)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_spikes_are_lowered_alike_with_and_without_asking_for_them(dtype: torch.dtype) -> None:
    grads = [x for x in heavy(dtype) if x.numel()]
    peaks = torch.stack([x.abs().max() for x in grads]).double()
    bounds = torch.where(torch.arange(len(grads)) % 3 == 2, math.inf, 0.3 * peaks)
    found = [x.clone() for x in grads]
    lower_without_waiting(found, bounds, peaks)
    for x, y, bound, peak in zip(grads, found, bounds.float(), peaks.float(), strict=True):
        expected = x if bound.isinf() else lower_spikes(x.float(), bound, peak).to(dtype)
        torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("scale", [0.5, torch.linspace(0.1, 0.9, 6)], ids=["one", "each"])
def test_rows_of_all_tensors_at_once_have_the_limits_of_each(scale: float | Tensor) -> None:
    grads = [x for x in heavy() if x.numel()]
    grads[0][::7] = 0.0
    alone, at_once = [x.clone() for x in grads], [x.reshape(1, -1) if x.ndim < 2 else x.clone() for x in grads]
    together = _FORMS["saturating"][1]
    saturate_rows(alone, scale, gain=3.0, together=together)
    for parts, (limits,) in beside(at_once, limits_of_rows(at_once, scale, gain=3.0), rows=True):
        together(parts, limits)
    for x, y in zip(alone, at_once, strict=True):
        torch.testing.assert_close(x, y.view_as(x), rtol=1e-5, atol=0.0)

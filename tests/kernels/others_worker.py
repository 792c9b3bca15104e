"""Run the other Triton programs in Triton's interpreter and print, as JSON, what came out."""

import json
import sys

import torch

from gnoise.errors import UserError
from gnoise.kernels import remedied_adam_moments_
from gnoise.kernels.entrywise_remedies import RULES, remedied_adam_moments_reference_, remedied_adam_moments_triton_
from gnoise.kernels.linear_norms import Order, per_example_linear_norms_triton
from gnoise.kernels.sketch import sketch, sketch_reference, sketch_triton
from gnoise.stats.sketch import sketch_from_counts, sketch_from_values
from tests.kernels.norm_cases import DTYPES
from tests.kernels.other_cases import SHAPES, TOKENS, adam_case, awkward_values, factors, linear_truth


def linear_errors() -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for order in Order:
        for place, (outputs, inputs) in enumerate(SHAPES):
            for name, dtype in DTYPES.items():
                tokens = TOKENS[(place + len(name)) % len(TOKENS)]
                grad, x = factors(tokens, outputs, inputs, dtype)
                out = per_example_linear_norms_triton(grad, x, bias=True, order=order)
                pairs = zip(out, linear_truth(grad, x), strict=True)
                found[f"{order}-{outputs}x{inputs}-{tokens}-{name}"] = [
                    float((a.double() - b).norm() / b.norm()) for a, b in pairs
                ]
    return found


def linear_edges() -> dict[str, object]:
    grad, x = factors((4,), 6, 5, torch.float32)
    plain = per_example_linear_norms_triton(grad, x)[0]
    weights = torch.tensor([0.5, 2.0, 1.0])
    bad = grad.clone()
    bad[1, 0, 0] = float("nan")
    turned = (t.transpose(1, 2).contiguous().transpose(1, 2) for t in (grad, x))
    return {
        "strided": torch.equal(per_example_linear_norms_triton(*turned)[0], plain),
        "weighted": torch.allclose(
            per_example_linear_norms_triton(grad, x, example_weights=weights)[0] * weights**2, plain
        ),
        "nan": per_example_linear_norms_triton(bad, x)[0].isfinite().tolist(),
        "empty": [per_example_linear_norms_triton(grad[:, :0], x[:, :0])[0].tolist()],
        "mixed": torch.allclose(per_example_linear_norms_triton(grad, x.bfloat16())[0], plain, rtol=0.02),
        "repeats": all(torch.equal(per_example_linear_norms_triton(grad, x)[0], plain) for _ in range(20)),
    }


def sketches() -> dict[str, bool]:
    values, scale = awkward_values()
    raw, standardised = sketch_triton(values, scale)
    assert standardised is not None
    counted = [sketch_from_counts(c.counts.numpy(), int(c.zeros)) for c in (raw, standardised)]
    expected = [sketch_from_values(values.numpy()), sketch_from_values((values / scale).numpy())]
    half = values[100:].bfloat16()

    def same(a, b) -> bool:
        return (
            a.buckets.tolist() == b.buckets.tolist()
            and a.counts.tolist() == b.counts.tolist()
            and (a.zeros, a.nonfinite) == (b.zeros, b.nonfinite)
        )

    finite = values[100:]
    reference = sketch_reference(finite, scale[100:])
    pairs = zip(sketch_triton(finite, scale[100:]), reference, strict=True)
    return {
        "raw": same(counted[0], expected[0]),
        "standardised": same(counted[1], expected[1]),
        "as the reference": all(torch.equal(x, y) for a, b in pairs for x, y in zip(a, b, strict=True)),
        "16 bits": torch.equal(sketch_triton(half)[0].counts, sketch_reference(half)[0].counts),
        "empty": int(sketch(values[:0])[0].counts.sum()) == 0,
        "one value": sketch_triton(torch.tensor(1.5))[0].counts[(127 << 8) + 128].item() == 1,
    }


def entrywise() -> dict[str, float]:
    found: dict[str, float] = {}
    for rule in RULES:
        for name, dtype in DTYPES.items():
            grads, firsts, seconds, scales = adam_case(dtype)
            mine = [[t.clone() for t in moments] for moments in (firsts, seconds)]
            remedied_adam_moments_reference_(grads, firsts, seconds, rule=rule, scales=scales)
            remedied_adam_moments_triton_(grads, *mine, rule=rule, scales=scales)
            pairs = zip([*firsts, *seconds], [*mine[0], *mine[1]], strict=True)
            found[f"{rule}-{name}"] = max(float((a - b).abs().max()) for a, b in pairs if a.numel())
    grads, firsts, seconds, scales = adam_case()
    grads[4][0], grads[4][1] = float("nan"), float("inf")
    remedied_adam_moments_triton_(grads, firsts, seconds, rule="clip_value", scales=scales)
    found["bad entries"] = float(firsts[4].isfinite().logical_not().sum())
    return found


def one_wider_is_refused() -> bool:
    """Whether GNOISE_KERNELS=triton, which the test sets, is refused where a single moment has 64 bits."""
    grads, firsts, seconds, scales = adam_case()
    try:
        remedied_adam_moments_(grads, firsts, [*seconds[:-1], seconds[-1].double()], rule="rational", scales=scales)
    except UserError:
        return True
    return False


if __name__ == "__main__":
    torch.set_num_threads(1)
    document = {
        "linear": linear_errors(),
        "linear edges": linear_edges(),
        "sketch": sketches(),
        "entrywise": entrywise(),
        "one wider is refused": one_wider_is_refused(),
    }
    json.dump(document, sys.stdout)

"""The trainings behind each claim that `papers.py` measures.

Run alone it does nothing. A `Savings` compares tokens at equal loss, a `Range` over how many octaves of a learning rate
or a weight decay training goes well.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from papers_arms import BEFORE_MUON, RATES_ALONE, SHRINKING, WHOLE, clip_globally, steady
from papers_claims import CLIP, DECAYS, LAYERS, SHRINK, STABLE, Claim
from papers_rounding import in_fp4, in_fp16
from papers_small import balance, forecaster
from papers_tasks import digits, gpt, gpt_from, llama, middle_gpt, small_gpt
from papers_trainings import ADAM, ADAMW, MUON, Arm, Problem, half_way

from gnoise.stats.trial import NONE

SEEDS = (1, 2, 3, 4, 5)
RATE, DECAY = "learning rate", "weight decay"


@dataclass(frozen=True)
class Savings:
    """Tokens at equal loss, of arms against none.

    Attributes:
        name: of its file.
        claims: one for each arm.
        title: of the table.
        problem: made when it is needed.
        arms: none first.
        steps: of none.
        rate: middle of the grid.
        decay: of weights.
        seeds: pairs.
    """

    name: str
    claims: tuple[Claim, ...]
    title: str
    problem: Callable[[], Problem]
    arms: tuple[Arm, ...]
    steps: int
    rate: float
    decay: float = 0.1
    seeds: tuple[int, ...] = SEEDS


@dataclass(frozen=True)
class Range:
    """Octaves of one hyper-parameter over which an arm trains well, against none.

    Attributes:
        name: of its file.
        claim: which.
        title: of the table.
        problem: made when it is needed.
        optimizer: of all arms.
        steps: of a training.
        axis: learning rate or weight decay.
        grid: of it, ascending by one factor.
        rate: of a grid of decays, the middle of what none is tuned over.
        decay: of a grid of rates.
        seeds: pairs.
    """

    name: str
    claim: Claim
    title: str
    problem: Callable[[], Problem]
    optimizer: str
    steps: int
    axis: str
    grid: tuple[float, ...]
    rate: float = 4e-3
    decay: float = 0.1
    seeds: tuple[int, ...] = SEEDS
    arms: tuple[Arm, ...] = field(init=False)

    def __post_init__(self) -> None:
        made = (
            Arm(NONE, self.optimizer),
            Arm("clipped to global norm 1", self.optimizer, clip_globally),
            Arm("stabilizer", self.optimizer, steady),
        )
        object.__setattr__(self, "arms", made)


Study = Savings | Range


def _grid(low: float, factor: float, count: int) -> tuple[float, ...]:
    return tuple(low * factor**k for k in range(count))


_WIDE, _FINE = _grid(2e-3, 4.0, 7), _grid(1e-5, 2.0, 12)
_MIDDLE = "gpt-docs from its middle moment"
STUDIES: tuple[Study, ...] = (
    Savings("shrink-scratch", (SHRINK, SHRINK), "GPT 1.0 M from scratch, AdamW", gpt, SHRINKING, steps=200, rate=2e-3),
    Savings(
        "shrink-middle",
        (SHRINK, SHRINK),
        "gpt-docs from its middle moment, AdamW with its state",
        lambda: gpt_from("middle"),
        SHRINKING,
        steps=120,
        rate=5e-4,
    ),
    Savings(
        "muon-scratch",
        (CLIP, LAYERS, LAYERS),
        "GPT 1.0 M from scratch, Muon",
        gpt,
        (Arm(NONE, MUON), BEFORE_MUON, RATES_ALONE, WHOLE),
        steps=120,
        rate=4e-3,
    ),
    Range("range-digits", STABLE, "digits-cnn from scratch, AdamW", digits, ADAMW, 50, RATE, _grid(1e-4, 2.0, 11)),
    Range("range-series", STABLE, "forecaster, AdamW", forecaster, ADAMW, 200, RATE, _grid(1e-4, 2.0, 12)),
    Range("range-policy", STABLE, "policy gradients, AdamW", balance, ADAMW, 40, RATE, _grid(1e-3, 2.0, 10), decay=0.0),
    Range(
        "decay-adam",
        DECAYS,
        "GPT 0.16 M, Adam, decay in the gradient",
        small_gpt,
        ADAM,
        40,
        DECAY,
        _grid(1e-5, 10**0.5, 10),
    ),
    Range("range-gpt", STABLE, "GPT 0.16 M from scratch, AdamW", small_gpt, ADAMW, 40, RATE, _WIDE),
    Range(
        "range-fp16", STABLE, "GPT 0.16 M in FP16's range, AdamW", lambda: in_fp16(small_gpt()), ADAMW, 40, RATE, _WIDE
    ),
    Range("range-fp4", STABLE, "GPT 0.16 M in FP4, AdamW", lambda: in_fp4(small_gpt()), ADAMW, 40, RATE, _WIDE),
    Savings(
        "llama-scratch",
        (LAYERS, LAYERS),
        "Llama 1.1 M from scratch, Muon",
        llama,
        (Arm(NONE, MUON), RATES_ALONE, WHOLE),
        steps=80,
        rate=4e-3,
    ),
    Savings(
        "shrink-early",
        (SHRINK, SHRINK),
        "gpt-docs from its early moment, AdamW with its state",
        lambda: gpt_from("early"),
        SHRINKING,
        steps=120,
        rate=1e-3,
    ),
    Range(
        "decay-adamw",
        DECAYS,
        "GPT 0.16 M, AdamW, decay apart",
        small_gpt,
        ADAMW,
        40,
        DECAY,
        _grid(1e-2, 10**0.5, 9),
    ),
    Savings(
        "muon-middle",
        (CLIP, LAYERS),
        "gpt-docs from its middle moment, Muon without state",
        lambda: gpt_from("middle"),
        (Arm(NONE, MUON), BEFORE_MUON, RATES_ALONE),
        steps=80,
        rate=1e-3,
    ),
    Range("range-middle", STABLE, f"{_MIDDLE}, AdamW with its state", middle_gpt, ADAMW, 40, RATE, _FINE),
    Savings(
        "llama-middle",
        (LAYERS, LAYERS),
        "Llama 1.1 M after 1,000 steps of Muon, its state afresh",
        lambda: half_way(llama(), MUON, 1000, 4e-3),
        (Arm(NONE, MUON), RATES_ALONE, WHOLE),
        steps=80,
        rate=4e-3,
    ),
    Savings(
        "gpt-middle",
        (CLIP, LAYERS, LAYERS),
        "GPT 1.0 M after 1,000 steps of Muon, its state afresh",
        lambda: half_way(gpt(), MUON, 1000, 4e-3),
        (Arm(NONE, MUON), BEFORE_MUON, RATES_ALONE, WHOLE),
        steps=80,
        rate=4e-3,
    ),
    Range(
        "range-digits-middle",
        STABLE,
        "digits-cnn after 100 steps, AdamW with its state",
        lambda: half_way(digits(), ADAMW, 100, 1e-3),
        ADAMW,
        50,
        RATE,
        _grid(1e-4, 2.0, 11),
    ),
    Range(
        "range-series-middle",
        STABLE,
        "forecaster after 100 steps, AdamW with its state",
        lambda: half_way(forecaster(), ADAMW, 100, 3.2e-3),
        ADAMW,
        200,
        RATE,
        _grid(1e-4, 2.0, 12),
    ),
    Range(
        "range-policy-middle",
        STABLE,
        "policy gradients after 20 steps, AdamW with its state",
        lambda: half_way(balance(), ADAMW, 20, 8e-3, decay=0.0),
        ADAMW,
        40,
        RATE,
        _grid(1e-3, 2.0, 10),
        decay=0.0,
    ),
    Range(
        "decay-middle",
        DECAYS,
        f"{_MIDDLE}, AdamW with its state, decay apart",
        middle_gpt,
        ADAMW,
        40,
        DECAY,
        _grid(1e-2, 10**0.5, 9),
        rate=5e-4,
    ),
    Range(
        "decay-adam-middle",
        DECAYS,
        f"{_MIDDLE}, Adam with its state, decay in the gradient",
        middle_gpt,
        ADAM,
        40,
        DECAY,
        _grid(1e-6, 10**0.5, 10),
        rate=5e-4,
    ),
    Range(
        "range-fp16-middle",
        STABLE,
        f"{_MIDDLE} in FP16's range, AdamW with its state",
        lambda: in_fp16(middle_gpt()),
        ADAMW,
        40,
        RATE,
        _FINE,
    ),
    Range(
        "range-fp4-middle",
        STABLE,
        f"{_MIDDLE} in FP4, AdamW with its state",
        lambda: in_fp4(middle_gpt()),
        ADAMW,
        40,
        RATE,
        _FINE,
    ),
    Range("range-gpt-whole", STABLE, "GPT 1.0 M from scratch, AdamW", gpt, ADAMW, 40, RATE, _WIDE),
)
"""In order of what matters most."""

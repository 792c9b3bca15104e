"""What `papers.py` measures: the claims of the papers, and the trainings behind each.

Run alone it does nothing. A `Savings` compares tokens at equal loss, a `Range` over how many octaves of a learning rate
or a weight decay training goes well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from papers_rounding import in_fp4, in_fp16
from papers_tasks import SMALL, balance, digits, forecaster, gpt, gpt_middle, llama
from papers_trainings import ADAM, ADAMW, LANTON, LAYERWISE, MUON, Arm, Ended, Key, Problem
from torch import nn
from torch.optim import Optimizer

from gnoise.remedies import Role, clip_global_norm, clip_value, roles_of, shrink, stabilize, wrap
from gnoise.remedies.geometry import Geometry
from gnoise.stats.trial import LONGER, MORE_STEPS, NONE

SEEDS, TUNING_SEED = (1, 2, 3, 4, 5), 0
RATE, DECAY = "learning rate", "weight decay"
_FARTHEST = 6

Done = Callable[[Problem, Arm, Key], Ended]
"""Trains, or finds what came of it."""


@dataclass(frozen=True)
class Claim:
    """What a paper says, and what it would take to test that where it was said.

    Attributes:
        paper: author, year, arXiv id.
        text: the claim with its figure.
        needed: what a test at the paper's own scale takes.
    """

    paper: str
    text: str
    needed: str


_SONG, _STABLE = "Song et al. 2026, 2605.27733", "GradientStabilizer, 2502.17055"
_LANTON, _GRAY = "Hao et al. 2025 (LANTON), 2510.14009", "Gray et al. 2024, 2411.00999"
SHRINK = Claim(
    _SONG,
    "smooth shrinkage under Adam saves 7% of tokens",
    "NanoGPT pre-training (124 M parameters, billions of tokens), Adam tuned with and without, 3 or more seeds: "
    "hundreds of GPU hours",
)
CLIP = Claim(
    _SONG,
    "entry-wise clipping before Muon saves 2% of tokens",
    "the same with Muon; 2% of tokens is about .002 in loss, so 5 or more pairs",
)
LAYERS = Claim(
    _LANTON,
    "layer-wise noise-adaptive rates train faster than plain Muon",
    "GPT-2 and Llama sizes on OpenWebText and C4, both optimizers tuned: tens of GPU days",
)
STABLE = Claim(
    _STABLE,
    "the stabilizer widens the range of stable learning rates",
    "LLM pre-training in true FP16 and FP4 for long enough that norms spike by themselves, ImageNet, reinforcement "
    "learning: tens of GPU days",
)
DECAYS = Claim(
    _STABLE,
    "the stabilizer makes Adam less sensitive to weight decay",
    "the same trainings to their end, over a grid of decays",
)
BATCH = Claim(
    _GRAY,
    "a batch that follows the noise scale takes 18% less time",
    "Cerebras-GPT of 111 M parameters, 16 to 120 sequences, to 2.2 billion tokens: a few GPU days",
)


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
            Arm("clipped to global norm 1", self.optimizer, _clip_globally),
            Arm("stabilizer", self.optimizer, _stabilize),
        )
        object.__setattr__(self, "arms", made)


Study = Savings | Range


# Remedies ----------------------------------------------------------------------------------------------


def _clip_globally(module: nn.Module, optimizer: Optimizer, setting: float) -> None:
    wrap(optimizer, clip_global_norm(1.0))


def _stabilize(module: nn.Module, optimizer: Optimizer, setting: float) -> None:
    wrap(optimizer, stabilize())


def _falling(module: nn.Module, optimizer: Optimizer, gain: float) -> None:
    """Shrink matrices and vectors towards zero far out; embeddings, whose rare rows are true, never to nothing."""
    roles, named = roles_of(module), dict(module.named_parameters())
    tables = [named[name] for name, role in roles.items() if role is Role.EMBEDDING]
    others = [named[name] for name, role in roles.items() if role is not Role.EMBEDDING]
    wrap(optimizer, shrink("rational", gain=gain), select=others, name="others")
    wrap(optimizer, shrink("saturating", rows=True, gain=gain), select=tables, name="embeddings")


def _saturating(module: nn.Module, optimizer: Optimizer, gain: float) -> None:
    wrap(optimizer, shrink("saturating", gain=gain))


def _clip_matrices(module: nn.Module, optimizer: Optimizer, gain: float) -> None:
    matrices = [
        x for group in optimizer.param_groups if group["geometry"] == Geometry.SPECTRAL for x in group["params"]
    ]
    wrap(optimizer, clip_value(gain=gain), select=matrices)


_GAINS = (3.0, 10.0, 30.0)
_SHRINKING = (
    Arm(NONE),
    Arm("shrunk, falling", ADAMW, _falling, _GAINS),
    Arm("shrunk, saturating", ADAMW, _saturating, _GAINS),
)
_BEFORE_MUON = Arm("entries clipped", MUON, _clip_matrices, _GAINS)
_RATES_ALONE, _WHOLE = Arm("noise-adaptive rates on Muon", LAYERWISE), Arm("LANTON whole", LANTON)


def _grid(low: float, factor: float, count: int) -> tuple[float, ...]:
    return tuple(low * factor**k for k in range(count))


_WIDE = _grid(2.5e-4, 2.0, 10)
STUDIES: tuple[Study, ...] = (
    Savings("shrink-scratch", (SHRINK, SHRINK), "GPT 1.0 M from scratch, AdamW", gpt, _SHRINKING, steps=200, rate=2e-3),
    Savings(
        "shrink-middle",
        (SHRINK, SHRINK),
        "gpt-docs from its middle moment, AdamW with its state",
        gpt_middle,
        _SHRINKING,
        steps=120,
        rate=5e-4,
    ),
    Savings(
        "muon-scratch",
        (CLIP, LAYERS, LAYERS),
        "GPT 1.0 M from scratch, Muon",
        gpt,
        (Arm(NONE, MUON), _BEFORE_MUON, _RATES_ALONE, _WHOLE),
        steps=150,
        rate=4e-3,
    ),
    Range(
        "range-gpt", STABLE, "GPT 0.3 M from scratch, AdamW", lambda: gpt(SMALL), ADAMW, steps=60, axis=RATE, grid=_WIDE
    ),
    Range("range-digits", STABLE, "digits-cnn from scratch, AdamW", digits, ADAMW, 50, RATE, _grid(1e-4, 2.0, 11)),
    Range("range-series", STABLE, "forecaster, AdamW", forecaster, ADAMW, 200, RATE, _grid(1e-4, 2.0, 12)),
    Range("range-policy", STABLE, "policy gradients, AdamW", balance, ADAMW, 40, RATE, _grid(1e-3, 2.0, 10), decay=0.0),
    Range(
        "decay-adam",
        DECAYS,
        "GPT 0.3 M, Adam, decay in the gradient",
        lambda: gpt(SMALL),
        ADAM,
        60,
        DECAY,
        _grid(1e-5, 10**0.5, 10),
    ),
    Range("range-fp16", STABLE, "GPT 0.3 M, FP16's range, AdamW", lambda: in_fp16(gpt(SMALL)), ADAMW, 60, RATE, _WIDE),
    Savings(
        "llama-scratch",
        (LAYERS, LAYERS),
        "Llama 1.1 M from scratch, Muon",
        llama,
        (Arm(NONE, MUON), _RATES_ALONE, _WHOLE),
        steps=120,
        rate=4e-3,
    ),
    Range("range-fp4", STABLE, "GPT 0.3 M, FP4, AdamW", lambda: in_fp4(gpt(SMALL)), ADAMW, 60, RATE, _WIDE),
    Range(
        "decay-adamw",
        DECAYS,
        "GPT 0.3 M, AdamW, decay apart",
        lambda: gpt(SMALL),
        ADAMW,
        60,
        DECAY,
        _grid(1e-2, 10**0.5, 9),
    ),
    Savings(
        "muon-middle",
        (CLIP, LAYERS),
        "gpt-docs from its middle moment, Muon without state",
        gpt_middle,
        (Arm(NONE, MUON), _BEFORE_MUON, _RATES_ALONE),
        steps=80,
        rate=1e-3,
    ),
)
"""In order of what matters most."""


# Trainings ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """What the tuning seed ended lowest with."""

    rate: float
    setting: float


def tuned(study: Study, problem: Problem, arm: Arm, start: float, done: Done) -> Chosen:
    """Choose an arm's setting at a rate, then its rate: half, the same, double, and on past an edge that wins.

    Args:
        study: whose steps and decay.
        problem: of the study.
        arm: to be tuned.
        start: rate in the middle.
        done: trains.
    """

    def loss(rate: float, setting: float) -> float:
        return done(problem, arm, Key(arm.name, TUNING_SEED, rate, study.decay, setting, study.steps)).after

    setting = min(arm.settings, key=lambda x: loss(start, x)) if len(arm.settings) > 1 else arm.settings[0]
    tried = {times: loss(start * times, setting) for times in (0.5, 1.0, 2.0)}
    while len(tried) < _FARTHEST:
        best = min(tried, key=lambda times: tried[times])
        if min(tried) < best < max(tried):
            break
        beyond = best / 2.0 if best == min(tried) else best * 2.0
        tried[beyond] = loss(start * beyond, setting)
    return Chosen(start * min(tried, key=lambda times: tried[times]), setting)


def trainings(study: Savings, done: Done) -> tuple[dict[str, Chosen], dict[str, dict[int, Ended]]]:
    """Tune every arm, then train all on all seeds, none a tenth longer as well.

    Args:
        study: which.
        done: trains.

    Returns:
        what was chosen by arm, and what came of it by arm and seed.
    """
    problem, chosen = study.problem(), dict[str, Chosen]()
    for arm in study.arms:
        start = chosen[NONE].rate if NONE in chosen else study.rate
        chosen[arm.name] = tuned(study, problem, arm, start, done)
    found: dict[str, dict[int, Ended]] = {}
    for seed in study.seeds:
        for arm in study.arms:
            at = chosen[arm.name]
            key = Key(arm.name, seed, at.rate, study.decay, at.setting, study.steps)
            found.setdefault(arm.name, {})[seed] = done(problem, arm, key)
        found.setdefault(LONGER, {})[seed] = longer(study, problem, chosen[NONE].rate, seed, done)
    return chosen, found


def longer(study: Study, problem: Problem, rate: float, seed: int, done: Done) -> Ended:
    """Train none a tenth longer: the ruler that turns a difference into tokens.

    Args:
        study: whose.
        problem: of the study.
        rate: none's.
        seed: which.
        done: trains.
    """
    steps = round(study.steps * (1.0 + MORE_STEPS))
    return done(problem, study.arms[0], Key(LONGER, seed, rate, study.decay, study.arms[0].settings[0], steps))


def over_grid(study: Range, done: Done) -> dict[str, dict[int, list[Ended]]]:
    """Train every arm at every value of the grid, on all seeds.

    Args:
        study: which.
        done: trains.

    Returns:
        by arm and seed, along the grid.
    """
    problem = study.problem()
    rate = study.rate if study.axis == RATE else tuned(study, problem, study.arms[0], study.rate, done).rate

    def along(arm: Arm, seed: int) -> list[Ended]:
        return [
            done(problem, arm, Key(arm.name, seed, *_place(study, value, rate), 0.0, study.steps))
            for value in study.grid
        ]

    found: dict[str, dict[int, list[Ended]]] = {arm.name: {} for arm in study.arms}
    for seed in study.seeds:
        for arm in study.arms:
            found[arm.name][seed] = along(arm, seed)
    return found


def _place(study: Range, value: float, rate: float) -> tuple[float, float]:
    return (value, study.decay) if study.axis == RATE else (rate, value)


def best_on_grid(study: Range, found: dict[int, list[Ended]]) -> int:
    """Return the place along the grid where the mean loss over seeds is lowest.

    Args:
        study: whose grid.
        found: by seed.
    """
    means: Sequence[float] = [sum(found[seed][i].after for seed in found) / len(found) for i in range(len(study.grid))]
    return means.index(min(means))

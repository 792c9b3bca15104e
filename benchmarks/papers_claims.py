"""What the papers say that `papers.py` measures. Run alone it does nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """What a paper says, and what it would take to test that where it was said.

    Attributes:
        paper: author, year, arXiv id.
        text: the claim with its figure.
        needed: our estimate of what a test at the paper's own scale takes, in hours of an H100 at 40% of its peak.
    """

    paper: str
    text: str
    needed: str


_SONG, _STABLE = "Song et al. 2026, 2605.27733", "GradientStabilizer, 2502.17055"
_LANTON, _GRAY = "Hao et al. 2025 (LANTON), 2510.14009", "Gray et al. 2024, 2411.00999"
SHRINK = Claim(
    _SONG,
    "smooth shrinkage under Adam saves 7% of tokens",
    "NanoGPT with Adam, five pairs, tuned: at 124 M parameters and 2.5 billion tokens some 25 trainings of 1.3 hours",
)
CLIP = Claim(
    _SONG,
    "entry-wise clipping before Muon saves 2% of tokens",
    "the same with Muon, and more pairs: 2% is less than what five tell apart here",
)
LAYERS = Claim(
    _LANTON,
    "layer-wise noise-adaptive rates train faster than plain Muon",
    "a GPT-2 and a Llama of 124 M parameters, both optimizers tuned, five pairs: twice 25 trainings of 1.3 hours",
)
STABLE = Claim(
    _STABLE,
    "the stabilizer widens the range of stable learning rates",
    "pre-training in true FP16 and FP4 for as long as it takes norms to spike by themselves, over a grid of rates: "
    "three settings of 150 trainings of 1.3 hours; ImageNet; long reinforcement learning",
)
DECAYS = Claim(
    _STABLE,
    "the stabilizer makes Adam less sensitive to weight decay",
    "trainings to their end, where decay acts, over a grid of decays: 150 of 1.3 hours",
)
BATCH = Claim(
    _GRAY,
    "a batch that follows the noise scale takes 18% less time",
    "a GPT of 111 M parameters, 16 to 120 sequences, 2.2 billion tokens, fixed batches of several sizes: "
    "some 20 trainings of an hour",
)
CLAIMS = (SHRINK, CLIP, LAYERS, STABLE, DECAYS, BATCH)

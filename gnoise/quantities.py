"""The glossary: every reported quantity, its symbol, unit, meaning and source."""

from collections.abc import Mapping
from dataclasses import dataclass

SHARE = "share"
"""The unit of a part of a whole, shown in percent."""


@dataclass(frozen=True)
class Quantity:
    """One reported number.

    Attributes:
        name: as it stands in run files and JSON.
        words: plain words, for people.
        symbol: the field's symbol.
        unit: what one of it is; empty for ratios.
        meaning: one line, and what a normal value is.
        reference: where the definition comes from.
    """

    name: str
    words: str
    symbol: str
    unit: str
    meaning: str
    reference: str


@dataclass(frozen=True)
class Question:
    """One thing that is asked of every layer, with the answers it may get.

    Attributes:
        name: as it stands in run files and JSON.
        words: plain words, for people.
        answers: answer to its meaning, one line each.
        calm: the answer which needs no action; a p-value is always its own.
        margin: what a verdict's margin is measured in.
        reference: where the comparison comes from.
    """

    name: str
    words: str
    answers: Mapping[str, str]
    calm: str
    margin: str
    reference: str


_MCCANDLISH = "McCandlish et al. 2018, arXiv 1812.06162, appendix A.1"
_KOGON = "Kogon & Williams 1998; Nolan 2020, parameterization S0"
_VUONG = "Vuong 1989; Stone 1977; blocks of draws by this project, see docs/methods.md"
_PROJECT = "defined by this project; see docs/methods.md"

_KINDS = {
    "embedding": "embeddings",
    "head": "the head",
    "attention": "attention",
    "mlp": "MLPs",
    "norm": "norm layers",
    "conv": "convolutions",
    "bias": "biases",
    "other": "other parameters",
}
KIND_QUANTITIES = {kind: f"b_simple_{kind}" for kind in _KINDS}
"""The whole model's noise scale over the parameters of one kind alone, by kind."""

_ALL = (
    Quantity(
        "b_simple",
        "noise scale",
        "B_simple",
        "examples",
        "batch at which gradient noise and gradient signal are equal in size; not the measured critical batch",
        _MCCANDLISH,
    ),
    *(
        Quantity(
            quantity,
            f"noise scale of {_KINDS[kind]}",
            "B_simple",
            "examples",
            f"noise scale of {_KINDS[kind]} taken together: norms added over tensors, divided once",
            _MCCANDLISH,
        )
        for kind, quantity in KIND_QUANTITIES.items()
    ),
    Quantity(
        "b_adam",
        "noise scale in Adam's norm",
        "B_Adam",
        "examples",
        "noise scale with every entry divided by Adam's √v, as its steps are; not the measured critical batch",
        _PROJECT,
    ),
    Quantity(
        "b_muon",
        "noise scale in Muon's norm",
        "B_Muon",
        "examples",
        "noise scale in nuclear norms, Muon's dual; the ends bracket a norm that cannot be measured without bias",
        "McCandlish et al. 2018, arXiv 1812.06162, for the two numbers; Jordan et al. 2024, Muon, for the norm",
    ),
    Quantity(
        "grad_sq_norm",
        "squared norm of the mean gradient",
        "|G|²",
        "",
        "what is left of the gradient when all noise is averaged away",
        _MCCANDLISH,
    ),
    Quantity(
        "trace_cov",
        "one-example noise variance",
        "tr Σ",
        "",
        "sum over entries of the variance of a one-example gradient",
        _MCCANDLISH,
    ),
    Quantity(
        "alpha_entries",
        "tail index across entries",
        "α",
        "",
        "stable index of one draw's noise with all entries pooled: 2 is Gaussian; "
        "low values can come from unequal scales alone",
        _KOGON,
    ),
    Quantity(
        "gamma_entries",
        "stable scale of an entry",
        "γ",
        "gradient units",
        "stable scale of the pooled noise entries of one draw",
        _KOGON,
    ),
    Quantity(
        "cauchy_scale_entries",
        "Cauchy scale of an entry",
        "γ_C",
        "gradient units",
        "half the inter-quartile range of the pooled noise: the scale of the Cauchy law with those quartiles",
        _PROJECT,
    ),
    Quantity(
        "alpha_draws",
        "tail index across draws",
        "α",
        "",
        "stable index of noise after each entry is divided by its own scale: the noise itself; 2 is Gaussian",
        _KOGON,
    ),
    Quantity(
        "departure_draws",
        "departure from Gaussian across draws",
        "",
        "nats a value",
        "what the best other law says better about unseen draws of the noise itself; below 0.001 nothing matters, "
        "Student's t with 3 degrees of freedom has 0.1",
        _VUONG,
    ),
    Quantity(
        "student_nu_draws",
        "Student-t degrees of freedom across draws",
        "ν",
        "",
        "tail index of Student's t fitted to the noise over its own scale; averages settle above 2, 30 is Gaussian",
        "Student 1908; fit by this project, see docs/methods.md",
    ),
    Quantity(
        "contamination_draws",
        "contaminated values across draws",
        "ε",
        SHARE,
        "share of values that are wider than the rest, where noise over its own scale is two Gaussians; the note has "
        "the ratio",
        "Tukey 1960, contaminated normal distribution",
    ),
    Quantity(
        "heterogeneity",
        "share of heaviness from unequal scales",
        "",
        SHARE,
        "how much of 2 − α (entries) goes when each entry is divided by its own scale; 1 is all of it",
        _PROJECT,
    ),
    Quantity(
        "xi_moment_draws",
        "extreme-value index across draws",
        "ξ",
        "",
        "how the largest standardised values thin out: 0 for Gaussian noise, a power law above, bounded below",
        "Dekkers, Einmahl & de Haan 1989",
    ),
    Quantity(
        "xi_hill_draws",
        "power-law tail across draws",
        "ξ",
        "",
        "where the tail is a power law, P(|X| > x) falls as x^(−1/ξ) beyond the k largest values; not a stable index",
        "Hill 1975; threshold by Guillou & Hall 2001",
    ),
    Quantity(
        "averaging_slope",
        "averaging slope",
        "",
        "log₂ scale per doubling",
        "how the spread of a mean of k draws falls with k: −0.5 Gaussian, 1/α − 1 stable, 0 Cauchy",
        _PROJECT,
    ),
    Quantity(
        "alpha_averaging",
        "tail index that survives averaging",
        "α",
        "",
        "1 / (1 + slope), given only where the slope is constant and flatter than −0.5",
        _PROJECT,
    ),
    Quantity(
        "max_entry_ratio",
        "largest entry against σ₁",
        "max|E|/‖E‖₂",
        "",
        "1 when a single entry is the largest singular value; about √(2 ln mn)/(√m + √n) for Gaussian noise",
        _PROJECT,
    ),
    Quantity(
        "ipr_left",
        "inverse participation of the top left singular vector",
        "IPR(u₁)",
        "",
        "Σ u⁴: 3/(m + 2) when spread over all rows, 1 when one row holds it",
        _PROJECT,
    ),
    Quantity(
        "ipr_right",
        "inverse participation of the top right singular vector",
        "IPR(v₁)",
        "",
        "Σ v⁴: 3/(n + 2) when spread over all columns, 1 when one column holds it",
        _PROJECT,
    ),
    Quantity(
        "row_dispersion",
        "row dispersion",
        "",
        "",
        "variance of row energies over what independent entries would give: 1 is even, large is a few loud rows",
        _PROJECT,
    ),
    Quantity(
        "column_dispersion",
        "column dispersion",
        "",
        "",
        "variance of column energies over what independent entries would give",
        _PROJECT,
    ),
    Quantity(
        "row_localization",
        "row unevenness of its own",
        "",
        "",
        "unevenness of row energies over what independent entries and low rank together would give: 1 is no loud rows",
        _PROJECT,
    ),
    Quantity(
        "column_localization",
        "column unevenness of its own",
        "",
        "",
        "unevenness of column energies over what independent entries and low rank together would give",
        _PROJECT,
    ),
    Quantity(
        "spectral_edge_ratio",
        "σ₁ against the edge of the bulk",
        "σ₁ / ŝ(√m + √n)",
        "",
        "1 for independent entries, more where directions stand out; the bulk is read from the median singular value",
        "Marchenko & Pastur 1967; Gavish & Donoho 2014, arXiv 1305.5870, section III",
    ),
    Quantity(
        "permuted_ratio",
        "σ₁ against its entries in random order",
        "σ₁ / σ₁(permuted)",
        "",
        "1 when entries are independent, however heavy their tail; above it noise has directions or loud lines",
        _PROJECT,
    ),
    Quantity(
        "draw_norm",
        "median gradient norm",
        "‖g‖",
        "",
        "norm of a draw, before clipping; hold max_norm against it and against the 95th percentile in the note",
        _PROJECT,
    ),
    Quantity(
        "spike_ratio",
        "norm-spike ratio",
        "max ‖g‖ / median ‖g‖",
        "",
        "largest draw norm over the median draw norm; 1 to 2 is calm",
        _PROJECT,
    ),
    Quantity(
        "norm_cv",
        "variation of draw norms",
        "c_v",
        "",
        "standard deviation of draw norms over their mean",
        _PROJECT,
    ),
    Quantity(
        "example_spike_ratio",
        "example-spike ratio",
        "max ‖g_i‖ / median ‖g_i‖",
        "",
        "largest one-example gradient norm over the median; names the example",
        _PROJECT,
    ),
    Quantity(
        "quiet_example_share",
        "examples that teach next to nothing",
        "",
        SHARE,
        "share of examples of ordinary or high loss with a gradient far smaller than the rest: encoded or random data",
        _PROJECT,
    ),
    Quantity(
        "loud_example_share",
        "examples far louder than the rest",
        "",
        SHARE,
        "share of examples whose gradient lies far above the run's own spread of norms; read them",
        _PROJECT,
    ),
    Quantity(
        "clip_rate",
        "share of draws the checkpoint's own clip threshold would cut",
        "",
        SHARE,
        "how often clip_global_norm, as found in the checkpoint, fires before clipping",
        _PROJECT,
    ),
)

QUANTITIES: dict[str, Quantity] = {quantity.name: quantity for quantity in _ALL}

_LAWS = {
    "gaussian": "Gaussian, as far as these draws can tell: nothing to tame",
    "laplace": "exponential tails: loud entries are rare, and bounded in practice",
    "cauchy": "power tails of index 1: means of draws are as loud as single ones",
    "student_t": "power tails of index nu; averages settle where nu is above 2",
    "generalised_gaussian": "density exp(−|x|^power): tails between a Gaussian's (2), Laplace's (1) and heavier",
    "voigt": "Gaussian noise plus a little Cauchy noise in every entry",
    "contaminated": "a share of the values is wider than the rest by a ratio: mixed sources, not a heavy-tailed law",
    "stable": "power tails of index alpha, kept by sums: averaging helps less than it should",
}
_MARGIN = "standard errors"

_ASKED: tuple[Question, ...] = (
    Question(
        "averaging",
        "what averaging more draws does to the noise",
        {
            "gaussian": "averages as Gaussian noise does: its variance halves when draws double; scales may be unequal",
            "thinning": "heavy-tailed with a variance: slower than Gaussian noise at first, like it in the end",
            "stable": "as heavy after averaging as before: slower than Gaussian noise at any number of draws",
            "rare_values": "rare large values take over as more draws are averaged: slower and slower",
        },
        calm="gaussian",
        margin="standard errors",
        reference=_PROJECT,
    ),
    Question("tails_entries", "law of the noise, entries pooled", _LAWS, "gaussian", _MARGIN, _VUONG),
    Question("tails_draws", "law of the noise, each entry over its own scale", _LAWS, "gaussian", _MARGIN, _VUONG),
    Question(
        "localization",
        "where the noise sits",
        {
            "rows": "some rows are louder than independent entries and low rank explain; the loudest are named",
            "columns": "some columns are louder than independent entries and low rank explain; the loudest are named",
            "low_rank": "a few directions, spread over all rows and columns, stand out of the bulk",
            "entries": "the largest entries are singular values of their own: an entry-wise rule can help",
            "bulk": "no row, column, direction or entry stands out of what independent Gaussian entries do",
        },
        "bulk",
        "powers of ten in p",
        _PROJECT,
    ),
)

QUESTIONS: dict[str, Question] = {question.name: question for question in _ASKED}

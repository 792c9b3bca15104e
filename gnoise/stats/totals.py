"""Noise scales of sums over tensors: of every kind of layer, and of the whole model in Adam's norm and Muon's.

Norms are added over tensors first and divided once: a mean of the layers' noise scales is not the noise scale of the
layers together.
"""

from dataclasses import dataclass

from gnoise.quantities import KIND_QUANTITIES
from gnoise.records import DrawSample, Estimate, Layer, LayerSamples, NormSample
from gnoise.stats.matched_noise_scale import adam_estimate, adam_norms, noise_scale_of, uses_adam
from gnoise.stats.muon_noise_scale import MuonNorms, add_muon_norms, muon_estimate, muon_norms
from gnoise.stats.statistic import Subject

_ADAM = "b_adam"


@dataclass(frozen=True)
class Summands:
    """What one layer adds to the sums.

    Attributes:
        norms: by quantity; ``None`` where the layer lacks what it takes.
        followed: the layer and its norms through Muon, if it was followed.
    """

    norms: tuple[tuple[str, NormSample | None], ...]
    followed: tuple[Layer, MuonNorms] | None


def summands(subject: Subject, samples: LayerSamples) -> Summands:
    """Pick what a layer adds to the sums.

    Args:
        subject: the layer.
        samples: its own.
    """
    layer, followed = subject.layer, muon_norms(samples.progress)
    if layer is None:
        return Summands((), None)
    norms = [(KIND_QUANTITIES[layer.kind], samples.norms)]
    adam = [(_ADAM, adam_norms(subject, samples.coordinates))] if uses_adam(subject) else []
    return Summands((*norms, *adam), None if followed is None else (layer, followed))


class NormSums:
    """Adds up norms while one layer after another is read, and reports what they come to.

    Args:
        draws: what was drawn.
    """

    def __init__(self, draws: DrawSample) -> None:
        self._draws = draws
        self._sums: dict[str, NormSample] = {}
        self._lacking: set[str] = set()
        self._followed: list[tuple[Layer, MuonNorms]] = []

    def add(self, layer: Summands) -> None:
        """Add a layer."""
        if layer.followed is not None:
            self._followed.append(layer.followed)
        for quantity, norms in layer.norms:
            if norms is None:
                self._lacking.add(quantity)
            else:
                so_far = self._sums.get(quantity)
                self._sums[quantity] = norms if so_far is None else add_norms(so_far, norms)

    def estimates(self) -> list[Estimate]:
        """Report the kinds there are, in the glossary's order, then the model in the norms of optimizers.

        Adam's where no layer lacks its state, Muon's where any matrix was followed, of these alone.
        """
        kinds = [
            noise_scale_of(None, quantity, self._sums[quantity])
            for quantity in KIND_QUANTITIES.values()
            if quantity in self._sums
        ]
        if _ADAM in self._sums and _ADAM not in self._lacking:
            kinds.append(adam_estimate(None, self._sums[_ADAM], self._draws))
        if self._followed:
            note = f"of followed matrices alone ({len(self._followed)})"
            kinds.append(muon_estimate(None, add_muon_norms(self._followed), self._draws, note))
        return kinds


def add_norms(one: NormSample, other: NormSample) -> NormSample:
    """Add squared norms of two sets of entries, draw by draw.

    Args:
        one: norms of some tensors.
        other: norms of others, in the same draws.
    """
    return NormSample(
        example_sq_norms=one.example_sq_norms + other.example_sq_norms,
        draw_sq_norms=one.draw_sq_norms + other.draw_sq_norms,
        block_sq_norms=one.block_sq_norms + other.block_sq_norms,
        example_weights=one.example_weights,
    )

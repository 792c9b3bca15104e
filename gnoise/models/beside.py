"""An optimizer's state in a file of its own beside the weights, as Hugging Face's Trainer leaves it."""

from dataclasses import dataclass
from pathlib import Path

from gnoise.errors import UserError
from gnoise.models.files import read_torch

FILE = "optimizer.pt"


@dataclass(frozen=True)
class Beside:
    """What lay beside the weights.

    Attributes:
        checkpoint: as if it had been in one file with them; empty without any.
        notes: why it was left aside, if it was.
    """

    checkpoint: dict[str, object]
    notes: tuple[str, ...] = ()


def read_beside(folder: Path) -> Beside:
    """Read ``optimizer.pt``, tensors and plain values only; one that holds more, or is damaged, is left aside.

    Weights can be profiled without it.

    Args:
        folder: of the weights.
    """
    file = folder / FILE
    if not file.is_file():
        return Beside({})
    try:
        return Beside({"optimizer": read_torch(file)})
    except UserError as error:
        why = str(error).partition("; try ")[0]
        return Beside({}, (f"the optimizer's state is left aside: {why}",))

"""A model reference and a data reference in, a workload out."""

from pathlib import Path

from gnoise.collect.workload import Batches, HeldOut, Workload
from gnoise.data import LoadedData, load_data
from gnoise.errors import UserError
from gnoise.models import LoadedModel, load_model


def load_workload(
    source: str | Path,
    *,
    data: str | None = None,
    factory: str | None = None,
    loss: str | None = None,
    held_out: str | None = None,
) -> Workload:
    """Load a checkpoint and its data.

    Args:
        source: checkpoint file or folder.
        data: token file, text file or ``module:function`` loader.
        factory: ``module:function`` that builds the module of a bare state dict.
        loss: ``module:function`` that takes (module, batch) and returns the mean loss.
        held_out: data kept from training, in any form ``data`` may have.

    Raises:
        UserError: either cannot be read, or no data was given.
    """
    path = Path(source)
    model = load_model(source, factory=factory, loss=loss)
    reference = data or model.default_data
    if reference is None:
        raise UserError(
            f"expected data to draw gradients from, got none for {source}; try --data tokens.bin, --data text.txt "
            "or --data module:function"
        )
    folder = path if path.is_dir() else path.parent
    references = {"data": reference, "factory": factory, "loss": loss, "held_out": held_out}
    loaded = _load(reference, model, folder)
    kept = None if held_out is None else _load(held_out, model, folder)
    return Workload(
        module=model.module,
        loss=model.loss,
        batches=_batches(loaded),
        example=loaded.example,
        model=model.description,
        data=loaded.description,
        sha256=model.sha256,
        tokens_per_example=loaded.tokens_per_example,
        examples=loaded.examples,
        row_labels=model.row_labels,
        optimizer=model.optimizer,
        second_moments=model.second_moments,
        optimizer_state=model.optimizer_state,
        optimizer_steps=model.optimizer_steps,
        references={name: value for name, value in references.items() if value is not None},
        held_out=None if kept is None else HeldOut(kept.description, kept.examples, _batches(kept)),
        notes=model.notes,
    )


def _load(reference: str, model: LoadedModel, folder: Path) -> LoadedData:
    return load_data(
        reference,
        folder=folder,
        block_size=model.block_size,
        vocab_size=model.vocab_size,
        tokenizer=model.tokenizer,
    )


def _batches(data: LoadedData) -> Batches:
    return lambda examples, seed: ((d.batch, d.example_ids) for d in data.draw(examples, seed))

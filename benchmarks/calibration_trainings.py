"""The trainings `calibration.py` branches from: a shipped one, a deeper GPT and a vision transformer.

Run alone it does nothing. A training that is not shipped is made once, and its moments kept as the checkpoints people
have: nanoGPT's layout, and a state dict with its optimizer's. All take constant learning rates after a short warm-up,
AdamW and no clipping but for the shipped one, which clipped at 1.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from gnoise.collect.load import load_workload
from gnoise.collect.workload import Workload
from gnoise.models.gpt import GPT, GPTConfig
from gnoise.remedies.param_groups import decay_groups

SAMPLES = Path(__file__).resolve().parents[1] / "sample_checkpoints"
DOCS, DIGITS = SAMPLES / "gpt-docs", SAMPLES / "digits-cnn" / "digits.npz"
MOMENTS = ("early", "middle", "late")
LEARNING_RATE, BETAS, WEIGHT_DECAY, WARM_UP = 1e-3, (0.9, 0.95), 0.1, 50
SEED = 1337
_OWN_CLIPPING = "clip_global_norm"

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Training:
    """One training with three moments.

    Attributes:
        name: as in the table.
        batch_size: of profile and trial.
        steps: of a trial's arm.
        seeds: pairs.
        held_out: examples to judge by.
        path_draws: along the path; small images take many until their gradient can be told from noise.
        checkpoint: (work folder, moment) to its file, made where it is not there.
        data: to train on, for a checkpoint.
        kept: to judge by.
        factory: of a state dict.
        loss: of a state dict.
    """

    name: str
    batch_size: int
    steps: int
    seeds: int
    held_out: int
    path_draws: int
    checkpoint: Callable[[Path, str], Path]
    data: str
    kept: str
    factory: str | None = None
    loss: str | None = None

    def workload(self, work: Path, moment: str) -> Workload:
        """Load a moment; how the training clipped is left out, so that no remedy is none.

        Args:
            work: folder of what is made once.
            moment: one of :data:`MOMENTS`.
        """
        source = self.checkpoint(work, moment)
        found = load_workload(source, data=self.data, factory=self.factory, loss=self.loss, held_out=self.kept)
        assert found.held_out is not None
        settings = {name: value for name, value in found.optimizer.items() if name != _OWN_CLIPPING}
        return replace(found, optimizer=settings, held_out=replace(found.held_out, examples=self.held_out))


# The deeper GPT ----------------------------------------------------------------------------------------

GPT_DEEP = GPTConfig(block_size=64, vocab_size=2048, n_layer=8, n_head=4, n_embd=64)
GPT_DEEP_MOMENTS = {150: "early", 600: "middle", 2400: "late"}


def gpt_deep(work: Path, moment: str) -> Path:
    """Train eight blocks of width 64 on gpt-docs' tokens, batch 16."""

    def write(path: Path, model: nn.Module, optimizer: Optimizer, step: int) -> None:
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "model_args": asdict(GPT_DEEP),
                "iter_num": step,
                "config": {"batch_size": 16, "learning_rate": LEARNING_RATE},
            },
            path,
        )

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return model(*batch)[1]

    file = work / moment / "ckpt.pt"
    if not file.exists():
        torch.manual_seed(SEED)
        _train(GPT(GPT_DEEP), loss, _windows(16), GPT_DEEP_MOMENTS, work, write)
    return file


def _windows(size: int) -> Iterator[Batch]:
    tokens = torch.from_numpy(np.fromfile(DOCS / "train.bin", dtype="<u2").astype(np.int64))
    generator, offsets = torch.Generator().manual_seed(SEED), torch.arange(GPT_DEEP.block_size)
    while True:
        places = torch.randint(len(tokens) - GPT_DEEP.block_size, (size,), generator=generator)[:, None] + offsets
        yield tokens[places], tokens[places + 1]


# The vision transformer --------------------------------------------------------------------------------

VIT_MOMENTS = {400: "early", 1000: "middle", 4000: "late"}
_SIDE, _PATCH, _WIDTH, _HEADS, _BLOCKS, _CLASSES = 8, 2, 48, 4, 4, 10
_PIXEL_NOISE, _BRIGHTEST = 0.4, 16.0


class Block(nn.Module):
    """Attention over all patches, then a perceptron, each after a LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.qkv, self.out = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.up, self.down = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return the stream of shape (images, patches, width) with the block's part added."""
        q, k, v = (y.unflatten(-1, (_HEADS, -1)).transpose(1, 2) for y in self.qkv(self.norm_1(x)).chunk(3, dim=-1))
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norm_2(x))))


class VisionTransformer(nn.Module):
    """Four blocks of width 48 over the sixteen patches of an 8 × 8 image."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Linear(_PATCH**2, _WIDTH)
        self.places = nn.Embedding((_SIDE // _PATCH) ** 2, _WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(_BLOCKS)))
        self.norm, self.head = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _CLASSES)
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images shaped (images, 8, 8)."""
        cut = images.unfold(1, _PATCH, _PATCH).unfold(2, _PATCH, _PATCH).flatten(3).flatten(1, 2)
        places = torch.arange(cut.shape[1], device=images.device).expand(cut.shape[0], -1)
        return self.head(self.norm(self.blocks(self.patches(cut) + self.places(places)).mean(dim=1)))


def vit_loss(module: nn.Module, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of a batch, in nats per image."""
    return functional.cross_entropy(module(batch[0]), batch[1])


def images(batch_size: int, seed: int) -> Iterator[Batch]:
    """Yield scikit-learn's digits under new pixel noise each time, so that none comes twice."""
    yield from _images("train", batch_size, seed)


def held_out_images(batch_size: int, seed: int) -> Iterator[Batch]:
    """Yield digits that :func:`images` does not, treated alike."""
    yield from _images("test", batch_size, seed)


def _images(split: str, batch_size: int, seed: int) -> Iterator[Batch]:
    with np.load(DIGITS, allow_pickle=False) as arrays:
        digits, labels = arrays[f"{split}_images"].astype(np.float32) / _BRIGHTEST, arrays[f"{split}_labels"]
    rng = np.random.default_rng([SEED, seed])
    while True:
        chosen = rng.integers(len(digits), size=batch_size)
        noise = _PIXEL_NOISE * rng.standard_normal((batch_size, _SIDE, _SIDE), dtype=np.float32)
        yield torch.from_numpy(digits[chosen] + noise), torch.from_numpy(labels[chosen].astype(np.int64))


def vit(work: Path, moment: str) -> Path:
    """Train the vision transformer, batch 16."""

    def write(path: Path, model: nn.Module, optimizer: Optimizer, step: int) -> None:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, path)

    file = work / moment / "ckpt.pt"
    if not file.exists():
        torch.manual_seed(SEED)
        _train(VisionTransformer(), vit_loss, images(16, SEED), VIT_MOMENTS, work, write)
    return file


def _train(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Tensor],
    batches: Iterator[Batch],
    moments: Mapping[int, str],
    work: Path,
    write: Callable[[Path, nn.Module, Optimizer, int], None],
) -> None:
    optimizer = torch.optim.AdamW(decay_groups(model, WEIGHT_DECAY), lr=LEARNING_RATE, betas=BETAS)
    for step, batch in enumerate(islice(batches, max(moments)), start=1):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, step / WARM_UP)
        optimizer.zero_grad(set_to_none=True)
        value = loss(model, batch)
        value.backward()
        optimizer.step()
        if step in moments:
            (work / moments[step]).mkdir(parents=True, exist_ok=True)
            write(work / moments[step] / "ckpt.pt", model, optimizer, step)
            print(f"{work.name}: step {step}, training loss {value.item():.3f}", file=sys.stderr, flush=True)


def _shipped(_: Path, moment: str) -> Path:
    return DOCS if moment == "late" else DOCS / moment


_HERE = Path(__file__).stem
_TRAIN, _VAL = str(DOCS / "train.bin"), str(DOCS / "val.bin")
TRAININGS: tuple[Training, ...] = (
    Training("gpt-deep", 8, 40, 5, 64, 128, gpt_deep, _TRAIN, _VAL),
    Training("gpt-docs", 4, 40, 5, 48, 128, _shipped, _TRAIN, _VAL),
    Training(
        name="vit",
        batch_size=32,
        steps=60,
        seeds=6,
        held_out=256,
        path_draws=512,
        checkpoint=vit,
        data=f"{_HERE}:images",
        kept=f"{_HERE}:held_out_images",
        factory=f"{_HERE}:VisionTransformer",
        loss=f"{_HERE}:vit_loss",
    ),
)

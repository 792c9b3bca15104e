"""The GPT architecture whose state dict has nanoGPT's names and shapes, so that its checkpoints load.

Shape suffixes: B batch, T time (tokens), C channels (n_embd), H heads, D channels per head, V vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnoise.errors import UserError

IGNORED_TARGET = -1
INIT_STD = 0.02


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """The keys of a nanoGPT checkpoint's `model_args`.

    Args:
        block_size: the longest sequence, in tokens.
        vocab_size: tokens in the vocabulary.
        n_layer: transformer blocks.
        n_head: attention heads; divides `n_embd`.
        n_embd: channels of the residual stream.
        dropout: probability of dropping, in [0, 1).
        bias: whether linear layers and layer norms have a bias.
    """

    block_size: int = 1024
    vocab_size: int = 50304
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True

    def __post_init__(self) -> None:
        if self.n_embd % self.n_head:
            raise UserError(
                f"expected n_head to divide n_embd, got n_head {self.n_head} and n_embd {self.n_embd}; "
                "try a checkpoint whose model_args were not edited"
            )


class CausalSelfAttention(nn.Module):
    """Attend to the past only; queries, keys and values come from one fused projection."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Mix each position with those before it."""
        qkv_BTHD = (part.unflatten(-1, (self.n_head, -1)) for part in self.c_attn(x_BTC).chunk(3, dim=-1))
        q_BHTD, k_BHTD, v_BHTD = (part.transpose(1, 2) for part in qkv_BTHD)
        y_BHTD = functional.scaled_dot_product_attention(
            q_BHTD, k_BHTD, v_BHTD, dropout_p=self.dropout if self.training else 0.0, is_causal=True
        )
        return self.resid_dropout(self.c_proj(y_BHTD.transpose(1, 2).flatten(-2)))


class MLP(nn.Module):
    """Widen four times, exact GELU, narrow again."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Transform each position by itself."""
        return self.dropout(self.c_proj(functional.gelu(self.c_fc(x_BTC))))


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Add attention, then the MLP, to the residual stream."""
        x_BTC = x_BTC + self.attn(self.ln_1(x_BTC))
        return x_BTC + self.mlp(self.ln_2(x_BTC))


class GPT(nn.Module):
    """A decoder-only transformer with learned positions and a head tied to the token embedding.

    Differs from nanoGPT's own module in returning the logits of every position also without targets.

    Args:
        config: the checkpoint's `model_args`.

    References:
        A. Radford et al., 2019, "Language Models are Unsupervised Multitask Learners", section 2.3.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.transformer = nn.ModuleDict(
            {
                "wte": wte,
                "wpe": nn.Embedding(config.block_size, config.n_embd),
                "drop": nn.Dropout(config.dropout),
                "h": nn.ModuleList(Block(config) for _ in range(config.n_layer)),
                "ln_f": nn.LayerNorm(config.n_embd, bias=config.bias),
            }
        )
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.lm_head.weight = wte.weight
        self._initialise()

    def _initialise(self) -> None:
        # The residual stream sums 2 n_layer projections: they start smaller, so that its variance stays put.
        residual_std = INIT_STD / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim >= 2:
                std = residual_std if name.endswith("c_proj.weight") else INIT_STD
                nn.init.normal_(parameter, mean=0.0, std=std)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Predict the next token at every position.

        Args:
            tokens_BT: token ids, at most `block_size` per sequence.
            targets_BT: the ids to predict; positions holding -1 do not count.

        Returns:
            The logits `(B, T, V)`, and the mean cross-entropy in nats per counted token or None.

        Raises:
            UserError: when a sequence is longer than `block_size`.
        """
        n_tokens = tokens_BT.shape[1]
        if n_tokens > self.config.block_size:
            raise UserError(
                f"expected at most {self.config.block_size} tokens per sequence, got {n_tokens}; "
                f"try sequences of {self.config.block_size} tokens"
            )
        positions_T = torch.arange(n_tokens, device=tokens_BT.device)
        embedded_BTC = self.transformer["wte"](tokens_BT) + self.transformer["wpe"](positions_T)
        x_BTC = self.transformer["drop"](embedded_BTC)
        for block in self.transformer["h"].children():
            x_BTC = block(x_BTC)
        logits_BTV = self.lm_head(self.transformer["ln_f"](x_BTC))
        if targets_BT is None:
            return logits_BTV, None
        loss = functional.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), ignore_index=IGNORED_TARGET)
        return logits_BTV, loss

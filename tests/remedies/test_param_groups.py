import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from gnoise.errors import UserError
from gnoise.models.gpt import GPT, GPTConfig
from gnoise.remedies import Role, param_groups_for, roles_of


def of(roles: dict[str, Role], role: Role) -> set[str]:
    return {name for name, found in roles.items() if found is role}


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.up = nn.ConvTranspose2d(8, 4, 2)
        self.hidden = nn.Linear(16, 12)
        self.fc = nn.Linear(12, 10)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(12, 16))
        self.class_token = nn.Parameter(torch.zeros(1, 16))
        self.mixing = nn.Parameter(torch.zeros(16, 16))
        self.experts = nn.Parameter(torch.zeros(4, 16, 16))
        self.q = nn.Linear(512, 256)
        self.lora_A = nn.Linear(512, 8, bias=False)
        self.lora_B = nn.Linear(8, 256, bias=False)
        self.frozen = nn.Linear(64, 64).requires_grad_(requires_grad=False)
        self.head = nn.Linear(256, 100)


def test_gpt_with_a_tied_head() -> None:
    roles = roles_of(GPT(GPTConfig(block_size=8, vocab_size=64, n_layer=1, n_head=2, n_embd=16)))
    assert of(roles, Role.EMBEDDING) == {"transformer.wte.weight", "transformer.wpe.weight"}
    hidden = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert of(roles, Role.HIDDEN) == {f"transformer.h.0.{name}.weight" for name in hidden}
    assert all("ln_" in name or name.endswith("bias") for name in of(roles, Role.REST))


@pytest.mark.parametrize("tied", [False, True])
def test_llama(tied: bool) -> None:
    config = LlamaConfig(
        vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip
    roles = roles_of(LlamaForCausalLM(config))
    head = set() if tied else {"lm_head.weight"}
    assert of(roles, Role.EMBEDDING) == {"model.embed_tokens.weight"} | head
    linear = [f"self_attn.{x}_proj" for x in "qkvo"] + [f"mlp.{x}_proj" for x in ("gate", "up", "down")]
    assert of(roles, Role.HIDDEN) == {f"model.layers.0.{name}.weight" for name in linear}
    assert of(roles, Role.REST) == {
        "model.norm.weight", "model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight",
    }  # fmt: skip


def test_an_untied_head_without_accessors_has_as_many_outputs_as_there_are_tokens() -> None:
    model = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 8), nn.Linear(8, 50))
    assert of(roles_of(model), Role.EMBEDDING) == {"0.weight", "2.weight"}
    assert of(roles_of(model), Role.HIDDEN) == {"1.weight"}


def test_convolutions_by_choice() -> None:
    roles = roles_of(Convolutional())
    assert of(roles, Role.HIDDEN) == {"stem.weight", "hidden.weight"}
    assert of(roles, Role.EMBEDDING) == {"fc.weight"}
    assert {"depthwise.weight", "up.weight", "norm.weight"} < of(roles, Role.REST)
    assert of(roles_of(Convolutional(), conv="rest"), Role.HIDDEN) == {"hidden.weight"}


def test_thin_tables_stacks_and_frozen() -> None:
    roles = roles_of(Odd())
    assert of(roles, Role.HIDDEN) == {"mixing", "q.weight"}
    assert of(roles, Role.EMBEDDING) == {"head.weight"}
    assert {"pos_embed", "class_token", "experts", "lora_A.weight", "lora_B.weight"} < of(roles, Role.REST)
    assert not any(name.startswith("frozen") for name in roles)


def test_patterns_come_first() -> None:
    roles = roles_of(Odd(), hidden=("lora_*.weight",), embedding=("pos_embed",), rest=("q.*", "head.*"))
    assert of(roles, Role.HIDDEN) == {"mixing", "lora_A.weight", "lora_B.weight"}
    assert of(roles, Role.EMBEDDING) == {"pos_embed"}
    assert {"q.weight", "q.bias", "head.weight"} < of(roles, Role.REST)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ({"hidden": ("attention.*",)}, "expected trained parameters named like 'attention"),
        ({"rest": ("frozen.*",)}, "got none; try 'pos_embed'"),
        ({"hidden": ("q.*",)}, r"got q\.bias with shape \(256,\)"),
        ({"hidden": ("q.weight",), "rest": ("q.*",)}, r"expected one role for q\.weight, got hidden and rest"),
    ],
)
def test_patterns_that_cannot_be(patterns: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        roles_of(Odd(), **patterns)


def test_groups_name_every_trained_parameter_once() -> None:
    model = Odd()
    groups = param_groups_for(model)
    assert [(group["role"], group["geometry"]) for group in groups] == [
        ("hidden", "spectral"), ("embedding", "sign"), ("rest", "rms"),
    ]  # fmt: skip
    names = [name for group in groups for name, _ in group["params"]]
    assert sorted(names) == sorted(name for name, p in model.named_parameters() if p.requires_grad)
    assert [group["geometry"] for group in param_groups_for(model, others="adamw")] == ["spectral", "adamw", "adamw"]
    assert [group["role"] for group in param_groups_for(nn.LayerNorm(3))] == ["rest"]

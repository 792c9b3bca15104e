"""Per-example norms of Hugging Face's own model code, small and with random weights, against a pass per example."""

from collections.abc import Callable

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from gnoise.collect.per_example import LAYERS, Method, measure
from gnoise.collect.per_example.loop import loop
from gnoise.collect.workload import Batch
from tests.collect.sums import assert_adds_up

VOCAB, EXAMPLES, TOKENS = 41, 4, 7
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**SIZES, "num_key_value_heads": 2}
GPT2 = {"vocab_size": VOCAB, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 4, "bos_token_id": 1}
T5 = {
    "vocab_size": VOCAB,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
VIT = {**{key: SIZES[key] for key in list(SIZES)[1:5]}, "image_size": 8, "patch_size": 4, "num_labels": 3}
RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 2], "layer_type": "basic", "num_labels": 3}
MAMBA = {"vocab_size": VOCAB, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2}

LANGUAGE_MODELS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "gpt2": (lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT2, eos_token_id=2)), ""),
    "llama": (lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)), ""),
    "llama-tied": (lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED, tie_word_embeddings=True)), ""),
    "qwen2": (lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED)), ""),
    "qwen3": (lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**GROUPED, head_dim=4)), ""),
    "mistral": (lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED)), ""),
    "gemma": (lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**GROUPED, head_dim=4)), ""),
    "phi": (lambda: hf.PhiForCausalLM(hf.PhiConfig(**SIZES)), ""),
    "neox": (lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SIZES)), ""),
    "bert": (lambda: hf.BertForMaskedLM(hf.BertConfig(**SIZES)), ""),
    "t5": (lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5)), "relative"),
    "mamba": (lambda: hf.MambaForCausalLM(hf.MambaConfig(**MAMBA)), "mixer"),
}
"""Each model, and what is in the names of the parameters that may go through the loop; nothing by default."""


def language_loss(module: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(batch, Tensor)
    return module(input_ids=batch, labels=batch).loss


def image_loss(module: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(batch, tuple)
    return module(pixel_values=batch[0], labels=batch[1]).loss


def agree(module: nn.Module, loss: Callable[[nn.Module, Batch], Tensor], batch: Batch, looped: str) -> None:
    for parameter in module.eval().parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    measured = measure(module, loss, batch, layers=LAYERS)
    parameters = dict(module.named_parameters())
    expected = loop(module, loss, batch, parameters, [1 / EXAMPLES] * EXAMPLES).sq_norms
    whole = torch.stack([*expected.values()]).sum(0)
    assert list(measured.sq_norms) == list(parameters)
    for name, got in measured.sq_norms.items():
        error = (got - expected[name]).abs()
        assert (error <= 1e-5 * expected[name] + 1e-9 * whole).all(), (name, error)
        assert Method.LOOP not in measured.methods[name] or (looped and looped in name)
    assert_adds_up(module, loss, batch, EXAMPLES)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_language_models(name: str) -> None:
    torch.manual_seed(0)
    make, looped = LANGUAGE_MODELS[name]
    agree(make(), language_loss, torch.randint(3, VOCAB, (EXAMPLES, TOKENS)), looped)


def test_vision_transformer() -> None:
    torch.manual_seed(1)
    config = hf.ViTConfig(**VIT)
    batch = torch.randn(EXAMPLES, 3, 8, 8), torch.randint(0, 3, (EXAMPLES,))
    agree(hf.ViTForImageClassification(config), image_loss, batch, "")


def test_residual_network() -> None:
    torch.manual_seed(2)
    config = hf.ResNetConfig(**RESNET)
    module = hf.ResNetForImageClassification(config)
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.running_mean = torch.randn(child.num_features)
            child.running_var = torch.rand(child.num_features) + 0.5
    agree(module, image_loss, (torch.randn(EXAMPLES, 3, 16, 16), torch.randint(0, 3, (EXAMPLES,))), "")

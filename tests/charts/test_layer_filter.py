"""Which layers an expression keeps, and what one that cannot be read is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnoise.charts.layer_filter import EXAMPLE, kept_layers, read_filter
from gnoise.errors import UserError
from tests.charts.records import ESTIMATES, HOSTILE, LAYERS, RECOMMENDATIONS

EVERY = frozenset(layer.name for layer in LAYERS)


def kept(expression: str) -> frozenset[str]:
    return kept_layers(read_filter(expression), LAYERS, ESTIMATES, RECOMMENDATIONS)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("", EVERY),
        ("  ", EVERY),
        (EXAMPLE, {"h.0.mlp.weight"}),
        ("b_simple >= 1.02e2 and b_simple<106", {"h.0.attn.weight", "h.0.attn.bias"}),
        ("b_simple == 100", {"wte.weight"}),
        ("averaging_slope < -.485", {"wte.weight", "h.0.attn.weight"}),
        (r'layer ~ "h[.]\d+[.]attn"', {"h.0.attn.weight", "h.0.attn.bias"}),
        ("layer !~ 'weight|bias'", {HOSTILE}),
        (f"layer == '{HOSTILE}'", {HOSTILE}),
        ('layer ~ "and" and kind == "mlp"', set()),
        ('remedy == "shrink"', {HOSTILE}),
        ('kind != "norm" and shape == "12"', set()),
        ('shape == "12"', {"ln_f.weight"}),
        ("row_dispersion != 0", {"wte.weight"}),  # another layer's has a status and no number
        ("example_spike_ratio > 0", set()),
    ],
)
def test_layers_that_fulfil_every_comparison_are_kept(expression: str, names: set[str]) -> None:
    assert kept(expression) == names


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("b_simpel > 3", "got b_simpel; try b_simple$"),
        ("b_simple = 3", "expected b_simple with one of == != <= >= < > and a number; try b_simple > 1.5"),
        ('b_simple > "3"', "and a number"),
        ("kind > 3", 'expected kind with one of == != ~ !~ and a text in quotes; try b_simple > 100 and kind == "mlp"'),
        ("kind == mlp", "got kind == mlp; try"),
        ('kind == "mlp" or kind == "norm"', "joined by and, got kind"),
        ("b_simple > 100 and", "got nothing; try"),
        ("__import__('os').system('true')", "expected name, sign and value"),
        ("layer.__class__ == 'str'", "expected name, sign and value"),
        ('layer ~ "[("', r"expected a regular expression, got \[\("),
        ('layer ~ "(x{1000}){1000}"', "expected a regular expression"),
    ],
)
def test_what_cannot_be_read_is_told_what_to_type(expression: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        kept(expression)


def test_no_expression_takes_long() -> None:
    """A backtracking engine would not come back from these within the life of the machine."""
    assert kept(f'layer ~ "{"(a*)*" * 20}b$"') == frozenset()
    with pytest.raises(UserError):
        kept(f"b_simple > {'1' * 100_000}x")


@given(st.text(alphabet="b_simple kind and <>=!~\"'.0123456789([*x", max_size=60))
def test_whatever_is_typed_gives_layers_or_one_clear_message(expression: str) -> None:
    told = ""
    try:
        assert kept(expression) <= EVERY
    except UserError as error:
        told = str(error)
    assert not told or "; try " in told

"""Every page on full, empty, cut off and unreadable runs."""

import subprocess
import sys
from pathlib import Path

from streamlit.testing.v1 import AppTest

from gnoise.records import RunState
from gnoise.runfile import RunWriter
from tests.app.conftest import MAIN, write_blocks, write_run
from tests.charts.records import HOSTILE, INFO, LAYERS


def _layers_page(path: str) -> None:
    from app.views import layers
    from gnoise.runfile import open_run

    with open_run(path) as run:
        layers.render(run)


def _layers(path: Path, **query: str) -> AppTest:
    test = AppTest.from_function(_layers_page, kwargs={"path": str(path)}, default_timeout=30)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


def _html(test: AppTest) -> str:
    return "".join(element.body for element in test.html)


def test_overview_says_the_verdict_the_numbers_and_what_to_do(open_app, full_run: Path) -> None:
    test = open_app(full_run)
    assert not test.exception
    assert not test.error
    shown = _html(test)
    assert "412 sequences" in shown
    assert "95% interval 380 to 455" in shown
    assert "<b>shrink</b>" in shown
    assert "most of all the row dispersion of wte.weight, 38.0 (31.0 to 45.0)" in shown
    assert test.download_button[0].label == "Download recommendations.json"


def test_names_out_of_the_file_are_never_markup(open_app, full_run: Path) -> None:
    test = open_app(full_run)
    assert HOSTILE not in _html(test)
    assert "&lt;b&gt;*bold*&lt;/b&gt;" in _html(test)
    assert not any("bold" in element.value for element in [*test.markdown, *test.caption])


def test_overview_of_a_run_without_estimates_says_what_to_type(open_app, bare_run: Path) -> None:
    test = open_app(bare_run)
    assert not test.exception
    assert "Nothing was analysed yet" in _html(test)
    assert any(code.value.startswith("gnoise analyze") for code in test.code)
    assert not test.download_button


def test_a_file_that_is_no_run_gives_the_one_clear_error(open_app, tmp_path: Path) -> None:
    path = tmp_path / "notes.gnoise"
    path.write_text("not a run")
    test = open_app(path)
    assert not test.exception
    assert [error.value for error in test.error] == ["This run cannot be shown."]
    assert test.code[0].value.startswith("expected a gnoise run file, but")
    assert "Traceback" not in test.code[0].value


def test_without_runs_it_says_what_to_type(open_app) -> None:
    test = open_app()
    assert not test.exception
    assert "gnoise app RUN" in test.code[0].value


def test_several_runs_are_chosen_by_the_url(open_app, full_run: Path, bare_run: Path) -> None:
    assert "412 sequences" in _html(open_app(full_run, bare_run))
    test = open_app(full_run, bare_run, run="bare.gnoise")
    assert test.selectbox(key="run").value == "bare.gnoise"
    assert "Nothing was analysed yet" in _html(test)


def test_a_url_opens_no_file_that_was_not_handed_over(open_app, full_run: Path, bare_run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other.gnoise", blocks=1)
    test = open_app(full_run, bare_run, run=str(other))
    assert test.selectbox(key="run").value == "full.gnoise"


def test_a_run_cut_off_says_how_far_it_came(open_app, tmp_path: Path) -> None:
    test = open_app(write_run(tmp_path / "part.gnoise", blocks=2, state=RunState.INTERRUPTED))
    assert not test.exception
    assert [info.value for info in test.info] == ["This run is interrupted: 16 of 64 draws so far."]


def test_a_run_still_being_written_is_followed(open_app, tmp_path: Path) -> None:
    path = tmp_path / "growing.gnoise"
    with RunWriter(path, info=INFO, layers=LAYERS) as writer:
        write_blocks(writer, range(2))
        test = open_app(path)
        assert [info.value for info in test.info] == ["This run is collecting: 16 of 64 draws so far."]
        write_blocks(writer, range(2, 3))
        test.run()
        assert [info.value for info in test.info] == ["This run is collecting: 24 of 64 draws so far."]
    assert not test.exception


def test_layers_shows_the_table_and_the_first_layer_with_a_remedy(full_run: Path) -> None:
    test = _layers(full_run)
    assert not test.exception
    assert list(test.dataframe[0].value["layer"]) == [layer.name for layer in LAYERS]
    assert test.selectbox(key="layer").value == HOSTILE
    assert "One noise entry in 100 is beyond 3." in _html(test)


def test_layer_in_the_url_is_the_one_shown(full_run: Path) -> None:
    test = _layers(full_run, layer="wte.weight")
    assert test.selectbox(key="layer").value == "wte.weight"
    estimates = test.dataframe[-1].value
    assert HOSTILE in estimates["remarks"].iloc[-1]


def test_layers_are_filtered_by_name_and_kind(full_run: Path) -> None:
    test = _layers(full_run)
    test.text_input(key="filter").set_value("H.0.").run()
    assert list(test.dataframe[0].value["layer"]) == ["h.0.attn.weight", "h.0.attn.bias", "h.0.mlp.weight"]
    test.multiselect(key="kinds").set_value(["mlp"]).run()
    assert list(test.dataframe[0].value["layer"]) == ["h.0.mlp.weight"]


def test_layers_are_filtered_by_an_expression_in_the_url(full_run: Path) -> None:
    test = _layers(full_run, where='b_simple > 100 and kind == "mlp"')
    assert list(test.dataframe[0].value["layer"]) == ["h.0.mlp.weight"]
    test.text_input(key="where").set_value(f"b_simple > {HOSTILE}").run()
    assert len(test.dataframe[0].value) == len(LAYERS)
    told = next(element.body for element in test.html if "gn-refusal" in element.body)
    assert "try b_simple &gt; 100 and kind" in told
    assert HOSTILE not in told


def test_a_filter_that_fits_nothing_leaves_an_empty_table(full_run: Path) -> None:
    test = _layers(full_run)
    test.text_input(key="filter").set_value("[(").run()
    assert not test.exception
    assert test.dataframe[0].value.empty


def test_layers_of_a_run_without_estimates(bare_run: Path) -> None:
    test = _layers(bare_run)
    assert not test.exception
    assert test.selectbox(key="layer").value == LAYERS[0].name


def test_the_app_never_imports_torch(full_run: Path) -> None:
    script = f"""
import json, os, sys
os.environ["GNOISE_APP_RUNS"] = json.dumps([{str(full_run)!r}])
from streamlit.testing.v1 import AppTest
test = AppTest.from_file({str(MAIN)!r}, default_timeout=60).run()
assert not test.exception and not test.error
import app.views.layers, gnoise.charts.tail
print(sorted({{"torch", "triton", "transformers"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=MAIN.parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("[]")

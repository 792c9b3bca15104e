"""The remedies page shows the code that ``gnoise apply --show`` prints."""

import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from gnoise.cli import main
from gnoise.records import Recommendation, Remedy, Status
from gnoise.runfile import write_findings
from tests.app.conftest import write_run
from tests.charts.records import ESTIMATES, HOSTILE, LAYERS

TABS = {"Plain PyTorch": "torch", "Hugging Face Trainer": "trainer", "Lightning": "lightning"}


def _remedies_page(path: str) -> None:
    from app.views import remedies
    from gnoise.runfile import open_run

    with open_run(path) as run:
        remedies.render(run)


def _page(path: Path, **query: str) -> AppTest:
    test = AppTest.from_function(_remedies_page, kwargs={"path": str(path)}, default_timeout=60)
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception
    return test


def _of(layer: str | None, remedy: Remedy, **params: object) -> Recommendation:
    return Recommendation("layer" if layer else "model", layer, remedy, params, Status.OK, "planted", ESTIMATES[:1])


@pytest.fixture(scope="module")
def treated_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a remedy of every kind."""
    path = write_run(tmp_path_factory.mktemp("treated") / "treated.gnoise", blocks=1)
    names = [layer.name for layer in LAYERS]
    recommendations = [
        _of(HOSTILE, Remedy.SHRINK, form="saturating", rows=True, scale=0.01),
        _of(names[0], Remedy.CLIP, clip_value=0.125),
        _of(names[1], Remedy.CLIP, coordinates=2.0),
        _of(names[2], Remedy.CLIP_NORM, clip_norm=0.5),
        _of(names[3], Remedy.LAYERWISE_LR, lr_multiplier=0.25),
        _of(None, Remedy.STABILIZE, gammas=[0.7, 0.9], max_ratio=1.0),
    ]
    write_findings(path, ESTIMATES, recommendations)
    return path


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("kind", ["full_run", "treated_run"])
def test_a_tab_shows_what_the_command_prints(
    kind: str,
    tab: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path: Path = request.getfixturevalue(kind)
    shown = [code.value for code in _page(path, code=tab).code if code.language == "python"]
    monkeypatch.setattr(sys, "argv", ["gnoise", "apply", "--show", str(path), "--for", TABS[tab]])
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    assert shown == [capsys.readouterr().out.strip("\n")]
    compile(shown[0], "shown", "exec")


def test_one_line_comes_first(treated_run: Path) -> None:
    test = _page(treated_run)
    assert [tab.label for tab in test.tabs] == ["One line", *TABS]
    assert 'gnoise.apply("recommendations.json", model, optimizer)' in test.code[-1].value
    assert test.download_button[0].label == "Download recommendations.json"


def test_params_that_make_no_sense_are_told_and_the_page_stays(tmp_path: Path) -> None:
    path = write_run(tmp_path / "odd.gnoise", blocks=1)
    write_findings(path, ESTIMATES, [_of(HOSTILE, Remedy.CLIP, threshold=3.0)])
    test = _page(path, code="Lightning")
    told = next(element.body for element in test.html if "gn-refusal" in element.body)
    assert "Lightning cannot be written: expected params clip_value, coordinates for clip, got threshold" in told
    assert test.download_button

"""A run as one HTML file that opens from disk: the first screen, the layers with a remedy, and all numbers."""

import json
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import pandas as pd
from plotly.io import templates
from plotly.offline import get_plotlyjs

from gnoise.charts.answers import answer_sentence
from gnoise.charts.averaging import averaging
from gnoise.charts.batch_cost import batch_cost
from gnoise.charts.cards import card
from gnoise.charts.chart import GREY, Chart, Grid
from gnoise.charts.depth import noise_by_depth
from gnoise.charts.heat_map import STYLE as HEAT_MAP_STYLE
from gnoise.charts.heat_map import heat_map
from gnoise.charts.ladder import ladder
from gnoise.charts.noise_scale import noise_scales
from gnoise.charts.norm_series import norm_series
from gnoise.charts.predicted import predicted_against_measured
from gnoise.charts.quantile_plot import quantile_plot
from gnoise.charts.rows import row_energy
from gnoise.charts.spectrum import spectrum
from gnoise.charts.summary import summary
from gnoise.charts.svg import svg
from gnoise.charts.tables import LAYER_QUANTITIES, layer_table
from gnoise.charts.tail import tail
from gnoise.charts.tiles import tiles
from gnoise.charts.trial import TABLE_TITLES, trial_curves, trial_sentences, trial_table
from gnoise.export.document import show_document
from gnoise.quantities import QUANTITIES
from gnoise.records import Recommendation, Remedy
from gnoise.runfile import Run, check_output

Draw = Callable[[Chart], str]
MOST_LAYERS = 8
"""Layers that are drawn one by one: those with a remedy, the most urgent first."""
_CARDS = 3
"""Remedies of the first screen."""
_HEADINGS = {name: QUANTITIES[name].words for name in LAYER_QUANTITIES} | {"b_simple_interval": "95% interval"}
_TABLE_ROWS = 200
_STYLE = """
:root {color-scheme: light dark}
body {font: 16px/1.45 system-ui, sans-serif; max-width: 1180px; margin: 1.5rem auto; padding: 0 1rem;
  overflow-wrap: anywhere}
h1 {font-size: 1.35rem; margin: 0 0 .3rem}
h2 {font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #8884; padding-bottom: .2rem}
h3 {font-size: 1rem; margin: 1.2rem 0 .3rem}
.small {font-size: .85rem; opacity: .8}
.tiles {display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: .75rem; margin: 1rem 0}
.tile, .card {border: 1px solid #8885; border-radius: .5rem; padding: .5rem .8rem; margin: 0 0 .6rem}
.value {font-size: 1.4rem; font-weight: 600}
table {border-collapse: collapse; font-size: .85rem; width: 100%}
th {overflow-wrap: normal}
.layers td:first-child {min-width: 11rem}
.layers td:nth-child(2) {min-width: 5rem}
th, td {text-align: left; padding: .15rem .6rem .15rem 0; border-bottom: 1px solid #8883; vertical-align: top}
details {margin: .3rem 0 1rem}
.still {max-width: 900px}
.legend {display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .8rem}
.wide {overflow-x: auto}
code {font-size: .85rem; background: #8882; padding: .1rem .3rem; border-radius: .25rem}
@media print {
  details {display: none}
  .plot, .still, .card, .tile {break-inside: avoid}
  body {max-width: none; margin: 0}
  table {font-size: .65rem}
}
"""
_DRAW = """
for (const place of document.querySelectorAll('.plot')) {
  const {template} = JSON.parse(document.getElementById('gnoise-template').textContent);
  const figure = JSON.parse(place.querySelector('script').textContent);
  figure.layout.template = template;
  place.style.height = figure.layout.height + 'px';
  Plotly.newPlot(place, figure.data, figure.layout, {displayModeBar: false, responsive: true});
}
"""


def write_report(run: Run, path: Path, *, scripts: bool = True, force: bool = False) -> None:
    """Write a run's report: one file, nothing fetched, light and dark, printable.

    Args:
        run: open.
        path: HTML file to write.
        scripts: draw with Plotly, which is inside; still pictures without, for viewers that block JavaScript.
        force: replace a file that exists.

    Raises:
        UserError: the file exists without ``force``, or cannot be written.
    """
    check_output(path, force=force)
    path.write_text(report(run, scripts=scripts), encoding="utf-8")


def report(run: Run, *, scripts: bool = True) -> str:
    """Build the report's HTML; what ``gnoise show --json`` prints, but for single layers, is inside as JSON.

    Args:
        run: open.
        scripts: as in :func:`write_report`.
    """
    draw = _plot if scripts else _still
    estimates, recommendations = run.estimates, run.recommendations
    said = summary(run.info, estimates, run.verdicts, recommendations, run.evidence, run=str(run.path), state=run.state)
    active = sorted((each for each in recommendations if each.remedy is not Remedy.NONE), key=_urgency)
    own = [each for each in recommendations if each.layer is None]
    drawn = [each for each in active[:MOST_LAYERS] if each.layer is not None]
    others = [each for each in active[_CARDS:] if each not in drawn]
    layers = layer_table(run.layers, estimates, recommendations)
    body = [
        f"<h1>{escape(said.headline)}</h1>",
        f'<div class="small">{escape(run.path.name)} · {escape(run.info.model)} · {escape(run.info.data)}</div>',
        _tiles(run),
        *(_card(each) for each in (active or own)[:_CARDS]),
        _grid(heat_map(run.layers, estimates)),
        _lines("Why", said.why),
        _lines("Next", said.next),
        "<h2>Noise scale</h2>",
        _chart(noise_scales(run.info, estimates), draw),
        *(_chart(batch_cost(run.info, e), draw) for e in estimates if e.layer is None and e.quantity == "b_simple"),
        _chart(noise_by_depth(run.info, run.layers, estimates), draw),
        "<h2>Norms</h2>",
        _chart(norm_series(run.info, run.draws, run.model_norms, estimates), draw),
        "<h2>What remedies would have bought the whole model</h2>",
        _chart(ladder(run.evidence, layer=None, info=run.info), draw),
        *_trials(run, draw),
        *(_layer(run, each, draw) for each in drawn),
        "<h2>More remedies</h2>" if others else "",
        *(_card(each) for each in others),
        "<h2>Layers</h2>",
        f'<div class="layers">{_table(layers.rename(columns=_HEADINGS))}</div>',
        "<h2>About this run</h2>",
        f"<p><code>{escape(run.info.command)}</code></p>",
    ]
    told = {name: value for name, value in show_document(run).items() if name != "layers"}
    return _page(run.path.name, body, json.dumps(told, sort_keys=True, allow_nan=False), scripts=scripts)


def _page(title: str, body: Sequence[str], document: str, *, scripts: bool) -> str:
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>gnoise: {escape(title)}</title><style>{_STYLE}{HEAT_MAP_STYLE}</style></head><body>",
            *body,
            f'<script type="application/json" id="gnoise-run">{_in_script(document)}</script>',
            _drawing() if scripts else "",
            "</body></html>",
        ]
    )


def _drawing() -> str:
    """Plotly, what all its figures look like, and the lines that draw them."""
    looks = _in_script(json.dumps({"template": templates[templates.default].to_plotly_json()}))
    shared = f'<script type="application/looks+json" id="gnoise-template">{looks}</script>'
    return f"{shared}<script>{get_plotlyjs()}</script><script>{_DRAW}</script>"


def _in_script(text: str) -> str:
    """Keep text that came from a file from ending the script element it stands in."""
    return text.replace("<", "\\u003c")


def _tiles(run: Run) -> str:
    boxes = "".join(
        f'<div class="tile"><div class="small">{escape(tile.label)}</div><div class="value">{escape(tile.value)}</div>'
        f'<div class="small">{escape(tile.detail)}</div></div>'
        for tile in tiles(run.info, run.estimates)
    )
    return f'<div class="tiles">{boxes}</div>'


def _card(recommendation: Recommendation) -> str:
    words = card(recommendation)
    small = [*words.details, *(f"Instead: {line}" for line in recommendation.alternatives[:1])]
    if recommendation.unless:
        small.append(f"What would change this: {recommendation.unless}")
    lines = [
        f"<b>{escape(words.name)}</b> · {escape(words.where)}",
        escape(words.reason),
        *([f"<code>{escape(words.code)}</code>"] if words.code else []),
        *(f'<span class="small">{escape(line)}</span>' for line in small),
    ]
    return f'<div class="card">{"<br>".join(lines)}</div>'


def _chart(chart: Chart, draw: Draw) -> str:
    """Draw a figure under its finding, with its numbers behind it."""
    return _with_numbers(chart.finding, draw(chart) if chart.figure.data else "", chart.table)


def _grid(grid: Grid) -> str:
    """Show a picture that is a table in the same way."""
    return _with_numbers(grid.finding, f'<div class="wide">{grid.html}</div>' if grid.html else "", grid.table)


def _with_numbers(finding: str, picture: str, table: pd.DataFrame) -> str:
    said = f"<p>{escape(finding)}</p>"
    numbers = f"<details><summary>The numbers of this picture</summary>{_table(table)}</details>"
    return f"{said}{picture}{numbers}" if picture else said


def _plot(chart: Chart) -> str:
    """Leave a place for Plotly to draw in."""
    chart.figure.update_layout(font={"color": GREY})  # readable on white and on black
    drawn = json.loads(chart.figure.to_json() or "{}")
    drawn["layout"].pop("template", None)  # the same for all, and longer than most: it stands once, at the end
    figure = _in_script(json.dumps(drawn))
    place = f'<script type="application/json">{figure}</script>'
    return f'<div class="plot" role="img" aria-label="{escape(chart.finding)}">{place}</div>'


def _still(chart: Chart) -> str:
    """Draw a picture that needs no JavaScript."""
    return f'<div class="still">{svg(chart.figure, chart.finding)}</div>'


def _layer(run: Run, recommendation: Recommendation, draw: Draw) -> str:
    layer = run.layer(str(recommendation.layer))
    samples = run.samples(layer.name)
    estimates = [each for each in run.estimates if each.layer == layer.name]
    verdicts = [each for each in run.verdicts if each.layer == layer.name]
    charts = (
        ladder(run.evidence, layer=layer.name, info=run.info),
        tail(samples.sketch, verdicts),
        quantile_plot(samples.sketch, verdicts),
        averaging(samples.coordinates.values, estimates),
        row_energy(samples.matrix, estimates, labels=run.row_labels(layer)),
        spectrum(samples.matrix, estimates, labels=run.row_labels(layer)),
    )
    answers = "".join(f"<p>{escape(answer_sentence(each))}</p>" for each in verdicts)
    return (
        f"<h2>{escape(layer.name)}</h2>{_card(recommendation)}{answers}{''.join(_chart(each, draw) for each in charts)}"
    )


def _trials(run: Run, draw: Draw) -> list[str]:
    parts: list[str] = []
    for trial in run.trials:
        parts.append(f"<h2>Trial {trial.number}: {escape(', '.join(trial.plan.arms))}</h2>")
        parts += [f"<p>{escape(sentence)}</p>" for sentence in trial_sentences(trial)]
        parts += [_chart(trial_curves(trial), draw), _chart(predicted_against_measured(trial), draw)]
        parts += [_table(pd.DataFrame(trial_table(trial), columns=list(TABLE_TITLES)))]
    return parts


def _lines(title: str, lines: Sequence[str]) -> str:
    return f"<h3>{escape(title)}</h3>{''.join(f'<p>{escape(line)}</p>' for line in lines)}" if lines else ""


def _table(table: pd.DataFrame) -> str:
    shown = table.head(_TABLE_ROWS).astype(object).where(table.head(_TABLE_ROWS).notna(), "–")
    head = "".join(f"<th>{escape(str(name))}</th>" for name in shown.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(_cell(value))}</td>' for value in row)}</tr>"
        for row in shown.itertuples(index=False, name=None)
    )
    left = len(table) - _TABLE_ROWS
    more = f'<p class="small">… and {left} more rows: gnoise export --format csv</p>' if left > 0 else ""
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}'


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _urgency(recommendation: Recommendation) -> int:
    return ("critical", "warning", "info").index(str(recommendation.severity))

"""``featx fit-head`` and ``featx evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli._options import cache_option, json_option
from featx.cli._output import figure, plain, print_json, print_table, tell, with_interval

if TYPE_CHECKING:
    from featx.evaluation import Evaluation
    from featx.fitting import Run

__all__ = ["continue_command", "evaluate", "fit_head", "show_run"]


def _show_figures(metrics: "dict[str, Evaluation]") -> None:
    """Print a row for each figure and a column for each part: value and 95 % interval."""
    names = list(dict.fromkeys(name for evaluation in metrics.values() for name in evaluation.figures))
    rows: list[list[object]] = [["samples", *(evaluation.n for evaluation in metrics.values())]]
    for name in names:
        found = [evaluation.figures.get(name) for evaluation in metrics.values()]
        rows.append([name.replace("_", " "), *("–" if one is None else with_interval(one) for one in found)])
    print_table(["", *metrics], rows)


def _show_classes(part: str, evaluation: "Evaluation") -> None:
    if not evaluation.per_class:
        return
    click.echo()
    names = list(dict.fromkeys(name for row in evaluation.per_class for name in row.figures))
    found = [(row, [row.figures.get(name) for name in names]) for row in evaluation.per_class]
    columns = [*(name.replace("_", " ") for name in names), "n"]
    print_table(
        [f"{'target' if evaluation.task == 'regression' else 'class'} ({part})", *columns],
        [(row.name, *(figure(one.value if one else None) for one in figures), row.support) for row, figures in found],
        right=columns,
    )


def show_run(run: "Run", folder: Path) -> None:
    """Print a net's layers, the figures of a run, and where it is."""
    if hasattr(run.head, "summary"):
        click.echo(f"{run.head.summary()}\n")
    _show_figures(run.metrics)
    if run.cv is not None:
        cv = run.cv
        click.echo(
            f"\n{cv['folds']}-fold cross-validation: {cv['figure'].replace('_', ' ')} {cv['mean']:.3f} ±"
            f" {cv['std']:.3f} over the folds"
        )
    if reject := run.settings.get("reject"):
        click.echo(
            f"\nanswers below {reject['threshold']:.3f} are refused: {100 * reject['coverage'][0]:.1f}% are given,"
            f" {100 * reject['precision'][0]:.1f}% of these are right"
        )
    for part, evaluation in run.metrics.items():
        if part != "train":
            _show_classes(part, evaluation)
    for note in run.notes:
        tell(f"note: {plain(note)}")
    if "test" in run.keys:
        tell(f"the {len(run.keys['test'])} samples of the test split are untouched: `featx evaluate` judges them")
    click.echo(f"\n{plain(folder)}")


@click.command(name="fit-head", short_help="Train a classifier on features and judge it.")
@click.argument("stores", nargs=-1, required=True, metavar="STORE...")
@click.option("--head", default="logistic", show_default=True, metavar="NAME", help="`featx heads` lists them.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Parameter of the head; may be repeated.")
@click.option("--train", metavar="SPLIT", help="Split to fit on; by default train, else all others.")
@click.option("--val", metavar="SPLIT|FRACTION", help="To judge on; by default val, else 0.2; none for none.")
@click.option("--test", metavar="SPLIT", help="To keep for `featx evaluate`; by default test.")
@click.option("--cv", type=click.IntRange(min=2), metavar="K", help="Folds of cross-validation on the training rows.")
@click.option("--calibrate", type=click.Choice(["temperature", "isotonic"]), help="Probabilities that keep their word.")
@click.option(
    "--precision", type=click.FloatRange(0, 1, min_open=True), metavar="P", help="Refuse answers less sure than that."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of all that is random."
)
@click.option("--out", metavar="RUN_DIR", type=click.Path(file_okay=False, path_type=Path), help="Else runs/NAME.")
@cache_option
@json_option
def fit_head(
    stores: tuple[str, ...], head: str, pairs: tuple[str, ...], out: Path | None, as_json: bool, **options: Any
) -> None:
    """Train a head on the features of STORE and judge it on images it has not seen.

    STORE is a file, or the name of a store in the cache. Several stores are joined by key.

    \b
    Examples:
      featx fit-head photos
      featx fit-head photos --head mlp --set layers="dense(256) relu dense" --cv 5
      featx fit-head photos --head sklearn.ensemble.RandomForestClassifier --set n_estimators=300
    """
    from featx.fitting import fit_head as fit
    from featx.heads import parse_params

    run = fit(stores, head, parse_params(pairs), **options)
    folder = run.save(out)
    if as_json:
        print_json({"path": str(folder), **run.to_dict()})
    else:
        show_run(run, folder)


@click.command(name="continue", short_help="Train a net for more epochs.")
@click.argument("run")
@click.argument("stores", nargs=-1, metavar="[STORE...]")
@click.option(
    "--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Parameter that is to be another from here on."
)
@click.option("--out", metavar="RUN_DIR", type=click.Path(file_okay=False, path_type=Path), help="Else runs/NAME.")
@cache_option
@json_option
def continue_command(
    run: str, stores: tuple[str, ...], pairs: tuple[str, ...], out: Path | None, cache: str | None, as_json: bool
) -> None:
    """Go on with the training of the net of RUN, on the samples it was trained on; RUN itself stays as it is.

    \b
    Examples:
      featx continue runs/maps-conv-1a2b3c4d --set max_epochs=20
      featx continue runs/maps-conv-1a2b3c4d --set learning_rate=1e-4 --set max_epochs=5 --out runs/slower
    """
    from featx.fitting import continue_fit
    from featx.heads import parse_params

    gone_on = continue_fit(run, stores or None, parse_params(pairs), cache=cache)
    folder = gone_on.save(out)
    if as_json:
        print_json({"path": str(folder), **gone_on.to_dict()})
    else:
        show_run(gone_on, folder)


@click.command(short_help="Judge a trained classifier on other features.")
@click.argument("run")
@click.argument("stores", nargs=-1, metavar="[STORE...]")
@click.option("--split", metavar="SPLIT", help="Only samples of that split.")
@cache_option
@json_option
def evaluate(run: str, stores: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Judge the head of RUN on the split kept for testing, or on the labelled samples of another STORE.

    The run keeps what is found, and how often its test split has been judged.

    \b
    Examples:
      featx evaluate runs/photos-logistic-1a2b3c4d
      featx evaluate runs/photos-logistic-1a2b3c4d new_photos
      featx evaluate runs/photos-logistic-1a2b3c4d photos --split test
    """
    from featx.fitting import judge_run

    found = judge_run(run, stores or None, **options)
    if as_json:
        print_json({**found.evaluation.to_dict(), "part": found.part, "notes": list(found.notes)})
        return
    _show_figures({found.part: found.evaluation})
    _show_classes(found.part, found.evaluation)
    for note in found.notes:
        tell(f"note: {plain(note)}")

"""``featx fit-head`` and ``featx evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli._options import cache_option, json_option
from featx.cli._output import figure, plain, print_json, print_table, tell

if TYPE_CHECKING:
    from featx.evaluation import Evaluation
    from featx.fitting import Run

__all__ = ["evaluate", "fit_head", "show_run"]


def _show_figures(metrics: "dict[str, Evaluation]") -> None:
    print_table(
        ["part", "n", "accuracy", "95 % interval", "macro F1", "log loss"],
        [
            (
                part,
                figures.n,
                figure(figures.accuracy),
                "–".join(figure(bound) for bound in figures.accuracy_interval),
                figure(figures.macro_f1),
                figure(figures.log_loss),
            )
            for part, figures in metrics.items()
        ],
        right=["n", "accuracy", "95 % interval", "macro F1", "log loss"],
    )


def _show_classes(part: str, figures: "Evaluation") -> None:
    click.echo()
    print_table(
        [f"class ({part})", "precision", "recall", "F1", "n"],
        [
            (row.name, figure(row.precision), figure(row.recall), figure(row.f1), row.support)
            for row in figures.per_class
        ],
        right=["precision", "recall", "F1", "n"],
    )


def show_run(run: "Run", folder: Path) -> None:
    """Print the figures of a run and where it is."""
    _show_figures(run.metrics)
    if run.cv is not None:
        cv = run.cv
        click.echo(
            f"\n{cv['folds']}-fold cross-validation: accuracy {cv['accuracy_mean']:.3f} ± {cv['accuracy_std']:.3f},"
            f" macro F1 {cv['macro_f1_mean']:.3f} ± {cv['macro_f1_std']:.3f}"
        )
    for part, figures in run.metrics.items():
        if part != "train":
            _show_classes(part, figures)
    for note in run.notes:
        tell(f"note: {plain(note)}")
    click.echo(f"\n{plain(folder)}")


@click.command(name="fit-head", short_help="Train a classifier on features and judge it.")
@click.argument("stores", nargs=-1, required=True, metavar="STORE...")
@click.option("--head", default="logistic", show_default=True, metavar="NAME", help="`featx heads` lists them.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Parameter of the head; may be repeated.")
@click.option("--train", metavar="SPLIT", help="Split to fit on; by default train, else all others.")
@click.option("--val", metavar="SPLIT|FRACTION", help="To judge on; by default val, else 0.2; none for none.")
@click.option("--test", metavar="SPLIT", help="To judge on at the end; by default test.")
@click.option("--cv", type=click.IntRange(min=2), metavar="K", help="Folds of cross-validation on the training rows.")
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
      featx fit-head photos --head mlp --set hidden_layer_sizes=[256] --cv 5
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


@click.command(short_help="Judge a trained classifier on other features.")
@click.argument("run")
@click.argument("stores", nargs=-1, required=True, metavar="STORE...")
@click.option("--split", metavar="SPLIT", help="Only samples of that split.")
@cache_option
@json_option
def evaluate(run: str, stores: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Judge the head of RUN on the labelled samples of another STORE of the same spec.

    \b
    Examples:
      featx evaluate runs/photos-logistic-1a2b3c4d new_photos
      featx evaluate runs/photos-logistic-1a2b3c4d photos --split test
    """
    from featx.fitting import evaluate as judge

    figures = judge(run, stores, **options)
    if as_json:
        print_json(figures.to_dict())
    else:
        part = options["split"] or "all"
        _show_figures({part: figures})
        _show_classes(part, figures)

"""``featx fine-tune``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx._words import size
from featx.cli._fit import show_run
from featx.cli._options import cache_option, json_option, network_options, source_options
from featx.cli._output import plain, print_json, progress_bar, tell

if TYPE_CHECKING:
    from featx.sources import Source
    from featx.tuning import TuningPlan

__all__ = ["fine_tune"]


def _tell_plan(plan: "TuningPlan") -> None:
    """Say what is about to be trained, and on what."""
    tell(
        f"{plan.trainable:,} parameters are trained, {plan.frozen:,} frozen; {plan.statistics:,} means and variances"
        " beside them"
    )
    shape = "x".join(map(str, plan.shape))
    if plan.cut is None:
        tell(f"images of {shape} go through the whole network in every epoch")
    else:
        where = "were in the cache already" if plan.hit else "are cached"
        tell(f"cut at {plan.cut}: {size(plan.bytes)} of activations, {shape} each, {where} ({plain(plan.path)})")
    tell(f"{plan.train} samples to train on, {plan.val} to judge each epoch by")


def _tell_epoch(entry: dict[str, Any]) -> None:
    names = [name for name in ("loss", "accuracy", "val_loss", "val_accuracy") if name in entry]
    figures = ", ".join(f"{name.replace('_', ' ')} {entry[name]:.4f}" for name in names)
    seconds = f", {entry['seconds']:.1f} s" if "seconds" in entry else ", the head as it was"
    tell(f"epoch {entry['epoch']}: {figures}{seconds}")


@click.command(name="fine-tune", short_help="Train the upper part of a network together with a head.")
@click.argument("source")
@source_options
@click.option("--from", "start", metavar="NODE|INDEX", help="Train this and all that is computed after it; or `all`.")
@click.option("--train", "blocks", metavar="NAME,NAME", help="Train these blocks instead, such as layer3,layer4.")
@click.option("--init-head", metavar="RUN", help="Go on from its head, fitted on features of this backbone.")
@click.option("--fresh-head", is_flag=True, help="Begin with a head that is not trained.")
@click.option("--head-layers", default="dense", show_default=True, metavar="LAYERS", help="Of a fresh head.")
@click.option(
    "--loss", type=click.Choice(["auto", "binary", "categorical", "sparse"]), default="auto", help="Of a fresh head."
)
@click.option(
    "--lr", "learning_rate", type=float, default=1e-5, show_default=True, metavar="RATE", help="Step size at the start."
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Sweeps over the samples."
)
@click.option(
    "--optimizer",
    type=click.Choice(["adam", "adamw", "rmsprop", "sgd"]),
    default="adam",
    help="torch's; by default adam.",
)
@click.option("--momentum", type=float, default=0.9, show_default=True, metavar="M", help="Of sgd.")
@click.option("--weight-decay", type=float, default=0.0, show_default=True, metavar="D", help="L2 penalty.")
@click.option("--schedule", metavar="TEXT", help="Of the learning rate: step(EPOCHS,FACTOR) or cosine.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True, metavar="N", help="Samples in a step."
)
@click.option(
    "--batch-norm",
    type=click.Choice(["auto", "eval", "train"]),
    default="auto",
    help="Whether those that are trained use a batch's statistics; auto: with random weights.",
)
@click.option("--train-split", "train", metavar="SPLIT", help="To train on; by default the samples of the head.")
@click.option("--val", metavar="SPLIT|FRACTION", help="To judge each epoch by; by default those of the head.")
@click.option("--test", metavar="SPLIT", help="To keep for `featx evaluate`; by default those of the head.")
@network_options
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Threads that decode.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of all that is random."
)
@click.option("--name", metavar="NAME", help="What to call the stores.")
@click.option("--out", metavar="RUN_DIR", type=click.Path(file_okay=False, path_type=Path), help="Else runs/NAME.")
@cache_option
@json_option
def fine_tune(
    source: "Source", backbone: str | None, layers: tuple[str, ...], blocks: str | None, as_json: bool, **options: Any
) -> None:
    """Train the upper part of a network together with a head, and keep both as a run.

    What lies below changes no more: its activations are computed once, into the cache, and each epoch runs the rest
    alone. The whole network (--from all), or --augment without --views, takes the images in every epoch instead.
    The run's network is a backbone afterwards: --backbone RUN.

    \b
    Examples:
      featx fine-tune photos/ --init-head runs/photos-logistic-1a2b3c4d --from blocks.6
      featx fine-tune photos/ --init-head runs/photos-mlp-1a2b3c4d --train layer3,layer4 --optimizer sgd --lr 1e-3
      featx fine-tune photos/ --init-head runs/photos-mlp-1a2b3c4d --from 91 --schedule "step(7,0.1)" --epochs 25
      featx fine-tune photos/ --backbone small_cnn --weights random:0 --from all --fresh-head --lr 1e-3
    """
    from featx.tuning import fine_tune as tune

    if len(layers) > 1:
        raise click.UsageError("--layer can be given once: a head is trained on one layer")
    named = tuple(block.strip() for block in blocks.split(",")) if blocks else ()
    with progress_bar(source.name) as progress:
        tuned = tune(
            source,
            backbone,
            blocks=named,
            layer=layers[0] if layers else None,
            progress=progress,
            planned=_tell_plan,
            report=_tell_epoch,
            **options,
        )
    if as_json:
        print_json(tuned.to_dict())
        return
    show_run(tuned.run, tuned.folder)
    kept = (
        f"epoch {tuned.best_epoch} was the best, and is kept"
        if any(entry["epoch"] == tuned.best_epoch and "seconds" in entry for entry in tuned.history)
        else "no epoch was better than what it began with, which is kept"
    )
    tell(f"{kept}; {tuned.seconds:.1f} s an epoch")

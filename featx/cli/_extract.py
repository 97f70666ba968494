"""``featx extract``."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli._gallery import gallery_type, write_gallery
from featx.cli._options import (
    BatchSize,
    cache_option,
    cluster_options,
    json_option,
    network_options,
    shards_option,
    source_options,
)
from featx.cli._output import plain, print_json, progress_bar, tell
from featx.labels import label_words

if TYPE_CHECKING:
    from featx.caching import Extraction
    from featx.sources import Source

__all__ = ["extract", "show_extraction"]

_SHOWN = 10
_COLUMNS = 8
"""Most views of which a preview has a row for each image."""

_ENGINES = ("auto", "torch", "compile", "onnxruntime")
"""``auto`` and :data:`featx.extraction.ENGINE_NAMES`, which would take a quarter of a second to import."""


def show_extraction(extraction: "Extraction") -> None:
    """Print where the features are, what they are, and how they came about."""
    store = extraction.store
    views = store.spec.views
    shape = "x".join(map(str, store.features.shape[1 if views == 1 else 2 :]))
    summary = store.summary()
    click.echo(plain(store.path))
    of = "" if views == 1 else f"{views} views of "
    parts = [f"{len(store)} rows of {of}{shape} {store.features.dtype.name} from layer {store.spec.layer}"]
    if store.classes:
        parts.append(f"{len(store.classes)} classes")
    parts += [f"{split} {count}" for split, count in summary["splits"].items() if split]
    click.echo(f"  {plain(', '.join(parts))}")
    if extraction.hit:
        click.echo("  in the cache already: nothing to compute")
    else:
        counts = {name: count for name, count in asdict(extraction.changes).items() if count and name != "computed"}
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        computed = extraction.changes.computed
        rate = f" ({computed / extraction.seconds:.1f} img/s)" if computed and extraction.seconds else ""
        click.echo(f"  {found}: computed {computed} in {extraction.seconds:.1f} s{rate}")
        if computed:
            how = "{engine} on {device}, batches of {batch_size}, {workers} threads".format_map(store.creation)
            if "num_workers" in store.creation:
                how += f" in each of {store.creation['num_workers']} workers of a cluster"
            spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in extraction.stages.items())
            click.echo(f"  {how}; seconds of work: {spent}")
    if store.failures:
        one = len(store.failures) == 1
        what = (
            "1 sample could not be used and is" if one else f"{len(store.failures)} samples could not be used and are"
        )
        tell(f"{what} left out:")
        for key, reason in store.failures[:_SHOWN]:
            tell(f"  {plain(key)}: {plain(reason)}")
        if len(store.failures) > _SHOWN:
            tell(f"  ... `featx info {shlex.quote(str(store.path))}` lists all")


def _as_dict(extraction: "Extraction") -> dict[str, Any]:
    return {
        "path": str(extraction.store.path),
        "hit": extraction.hit,
        **asdict(extraction.changes),
        "seconds": extraction.seconds,
        "stages": extraction.stages,
        **extraction.store.summary(),
        "failures": [list(failure) for failure in extraction.store.failures],
    }


@click.command(short_help="Run a network over images and keep their features.")
@click.argument("source")
@source_options
@network_options
@click.option("--engine", type=click.Choice(_ENGINES), default="auto", help="What runs the network.")
@click.option("--batch-size", type=BatchSize(), default="auto", help="Images at a time.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Threads; onnxruntime computes in them too.")
@click.option("--strict", is_flag=True, help="A bad image is an error, not left out.")
@click.option("--rehash", is_flag=True, help="Read every image to see if it changed.")
@click.option("--compress", is_flag=True, help="Write a smaller file that is not memory-mapped.")
@shards_option
@cluster_options
@click.option(
    "--preview",
    "preview_file",
    type=gallery_type(),
    help="First draw some images of each class as the network sees them: .png, .svg, .pdf, or .html for a page.",
)
@click.option("--name", metavar="NAME", help="What to call the store.")
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write it here instead.")
@cache_option
@json_option
def extract(
    source: "Source",
    backbone: str | None,
    layers: tuple[str, ...],
    preview_file: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run a frozen network over every image of SOURCE and keep its features.

    SOURCE is a folder, a .zip or .tar of one, a manifest (.csv, .jsonl, .parquet), shards of WebDataset, Parquet
    files with images, an .npz, the URL of any of these, IDX files, torchvision:NAME or hf:NAME. What is in the
    cache already is not computed again.

    \b
    Examples:
      featx extract photos/
      featx extract photos.zip --backbone resnet50 --weights resnet50.pth
      featx extract photos/ --backbone resnet50 --layer layer3 --layer layer4 --pool gem
      featx extract 's3://bucket/train-{0000..0099}.tar'
      featx extract photos/ --image-size 160 --resize pad --preview seen.png
      featx extract photos/ --label-pattern '(cat|dog)' --val-fraction 0.2 --split-seed 123
      featx extract photos/ --views 4 --augment "affine(shear=10,scale=0.8:1.2) hflip"
      featx extract photos/ --distributed ray --address auto --num-workers 8 --gpus-per-worker 1
    """
    from featx.caching import extract_layers
    from featx.spec import DEFAULT_BACKBONE

    backbone = backbone or DEFAULT_BACKBONE
    if preview_file is not None:
        _draw(source, backbone, layers, preview_file, options)
    with progress_bar(source.name) as progress:
        extractions = extract_layers(source, backbone, layers=layers, progress=progress, **options)
    if as_json:
        print_json([_as_dict(extraction) for extraction in extractions])
    else:
        for extraction in extractions:
            show_extraction(extraction)


def _draw(source: "Source", backbone: str, layers: tuple[str, ...], path: str, options: dict[str, Any]) -> None:
    """Write a gallery of what the network is about to see."""
    from featx.caching import NetworkSettings, preview
    from featx.reports import Picture

    names = NetworkSettings.__annotations__.keys() | {"limit", "cache"}
    settings = {name: value for name, value in options.items() if name in names}
    seen = preview(source, backbone, layers=layers, **settings)
    pictures = [
        Picture(
            one.pixels,
            [(one.key if one.label is None else label_words(one.label)) + (f", view {one.view}" if one.view else "")],
            one.key,
        )
        for one in seen
    ]
    views = max(one.view for one in seen) + 1
    columns = views if 1 < views <= _COLUMNS else None  # a row for each image
    write_gallery(path, [("", pictures)], f"What the network sees of {source.name}", columns=columns)
    tell(f"what the network sees is drawn in {plain(path)}")

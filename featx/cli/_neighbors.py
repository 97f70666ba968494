"""``featx neighbours``."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import click

from featx.cli._gallery import SIDE, gallery_type, most_pictures, write_gallery
from featx.cli._options import OutputFile, cache_option, json_option
from featx.cli._output import plain, print_json, print_table, tell, write_csv

if TYPE_CHECKING:
    from featx.prediction import Neighborhood, NeighborSearch
    from featx.reports import Album, Pixels

__all__ = ["neighbours"]


@click.command(short_help="Find the images of a store that are nearest to others.")
@click.argument("store")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-k", type=click.IntRange(min=1), default=5, show_default=True, metavar="K", help="How many of each.")
@click.option(
    "--metric", type=click.Choice(["cosine", "euclidean"]), default="cosine", show_default=True, help="Near by what."
)
@click.option("--split", metavar="SPLIT", help="Look among its samples only.")
@click.option(
    "--gallery",
    "gallery_file",
    metavar="FILE",
    type=gallery_type(),
    help="Draw each image and its nearest in a row: .png, .svg, .pdf, or .html for a page.",
)
@click.option(
    "--csv", "csv_file", type=OutputFile(".csv", or_stdout=True), help="Write them as CSV; - for standard output."
)
@click.option("--weights", metavar="FILE", help="Of the backbone, if that file has moved since.")
@click.option("--device", metavar="auto|cpu|cuda|cuda:N", default="auto", help="Where the network runs.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Images at a time.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Decoding threads.")
@cache_option
@json_option
def neighbours(
    store: str,
    images: tuple[str, ...],
    k: int,
    metric: Literal["cosine", "euclidean"],
    gallery_file: str | None,
    csv_file: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the images of STORE that are nearest to each IMAGE: a file, folder or archive, or a key of the store.

    An image that is in the store is no neighbour of itself, but its copies are.

    \b
    Examples:
      featx neighbours photos new.jpg
      featx neighbours photos inbox/ -k 3 --gallery nearest.html
      featx neighbours photos cats/001.jpg --split train --gallery nearest.png
    """
    from featx.prediction import NeighborSearch

    search = NeighborSearch(store, **options)
    found = search.find(images, k, metric)
    if csv_file is not None:
        write_csv(["image", "rank", "key", "label", "distance", "error"], _csv_rows(found), csv_file)
    if as_json:
        print_json([one.to_dict() for one in found])
    for one in found:
        if one.error is not None:
            tell(f"{plain(one.key)}: cannot be used: {plain(one.error)}")
    usable = [one for one in found if one.error is None]
    if not as_json and csv_file is None:
        for number, one in enumerate(usable):
            click.echo(("\n" if number else "") + _heading(one, search) + ":")
            _print(one)
    if not usable:
        raise click.exceptions.Exit(1)
    if gallery_file is not None:
        _draw(search, images, usable, gallery_file)


def _csv_rows(found: "Sequence[Neighborhood]") -> Iterator[Sequence[object]]:
    for one in found:
        if one.error is not None:
            yield one.key, "", "", "", "", one.error
        for rank, near in enumerate(one.neighbors, 1):
            yield one.key, rank, near.key, near.label or "", f"{near.distance:.6g}", ""


def _heading(one: "Neighborhood", search: "NeighborSearch") -> str:
    """Return what an image is called, and whether it is in the store itself."""
    if one.row is None:
        return plain(one.key)
    key = search.store.keys[one.row]
    return plain(f"{one.key}, in the store itself" + ("" if one.key == key else f" as {key}"))


def _print(one: "Neighborhood") -> None:
    rows = [(rank, near.key, near.label or "–", f"{near.distance:.4f}") for rank, near in enumerate(one.neighbors, 1)]
    print_table(["rank", "key", "label", "distance"], rows, right=["rank", "distance"])


def _draw(search: "NeighborSearch", images: Sequence[str], found: "Sequence[Neighborhood]", path: str) -> None:
    """Write a gallery: each image with its nearest in a row, as far as there is room."""
    from featx.reports import Album, Picture

    most = most_pictures(path)
    nearest = min(most // 4 - 1, *(len(one.neighbors) for one in found))
    rows = min(len(found), most // (nearest + 1))
    album = Album(search.store)
    load = _queries(search, images, album)
    sections = []
    for one in found[:rows]:
        pictures = [Picture(partial(load, one), [one.key, "query"], one.key)]
        for near in one.neighbors[:nearest]:
            about = f"distance {near.distance:.4f}" if near.label is None else f"{near.label}, {near.distance:.4f}"
            pictures.append(Picture(partial(album.image, near.row, SIDE), [near.key, about], near.key))
        sections.append((_heading(one, search), pictures))
    notes = [] if album.problem is None else [album.problem]
    if rows < len(found):
        notes.append(f"{plain(path)} shows the neighbours of {rows} of {len(found)} images")
    title = f"Nearest images of {search.store.name}"
    write_gallery(path, sections, title, columns=nearest + 1, notes=notes)


def _queries(
    search: "NeighborSearch", images: Sequence[str], album: "Album"
) -> "Callable[[Neighborhood], Pixels | None]":
    """Return what returns the image that was searched for: from its file, or of a key from the store's source."""
    from featx.reports import small_image
    from featx.sources import open_images

    files = [image for image in images if not search.is_key(image)]
    source = open_images(files) if files else None
    places = {} if source is None else {sample.key: place for place, sample in enumerate(source.samples)}

    def load(one: "Neighborhood") -> "Pixels | None":
        if source is not None and one.key in places:
            return small_image(source.read(places[one.key]), SIDE)
        return None if one.row is None else album.image(one.row, SIDE)

    return load

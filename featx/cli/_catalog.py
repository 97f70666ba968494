"""``featx backbones``, ``featx layers`` and ``featx heads``: what there is to choose from."""

import shlex

import click

from featx.cli._options import json_option
from featx.cli._output import print_json, print_table, tell
from featx.errors import BackboneError

__all__ = ["backbones", "heads", "layers"]


@click.command(short_help="List the networks there are.")
@click.argument("pattern", default="*")
@click.option("--tags", is_flag=True, help="Also list the tags of the pretrained weights.")
@json_option
def backbones(pattern: str, tags: bool, as_json: bool) -> None:
    """List the backbones whose name matches PATTERN (a word, or with * and ?).

    \b
    Examples:
      featx backbones resnet
      featx backbones 'timm:convnext_t*' --tags
    """
    from featx.backbones import list_backbones, list_weights

    names = list_backbones(pattern)
    if not names:
        raise BackboneError(f"no backbone matches {pattern!r}: `featx backbones` lists all")
    found = {name: list_weights(name) if tags else [] for name in names}
    if as_json:
        print_json(found if tags else names)
    elif tags:
        print_table(["backbone", "weights (the first is the default)"], [(n, ", ".join(t)) for n, t in found.items()])
    else:
        for name in names:
            click.echo(name)


@click.command(short_help="List the layers of a network, with their shapes.")
@click.argument("backbone")
@click.option("--image-size", type=click.IntRange(min=1), metavar="N", help="Side of the network's input in pixels.")
@json_option
def layers(backbone: str, image_size: int | None, as_json: bool) -> None:
    """List the nodes of BACKBONE that --layer takes, with the shape of their output for one image.

    Shapes are (channels,), (height, width, channels) or, for tokens, (length, channels). No weights are
    needed or downloaded.

    \b
    Example:
      featx layers resnet50
    """
    from featx.backbones import describe_layers

    nodes, default, default_map = describe_layers(backbone, image_size=image_size)
    index = {name: number for number, name in enumerate(n.name for n in nodes if n.call == 0 and n.is_leaf)}
    remarks = {default: "default"}
    if default_map is not None:
        remarks[default_map] = " ".join(
            [*([remarks[default]] if default == default_map else []), "default with --pool"]
        )
    if as_json:
        print_json(
            {
                "default": default,
                "default_with_pool": default_map,
                "layers": [
                    {"name": n.name, "shape": list(n.shape), "axes": n.axes, "kind": n.kind, "index": index.get(n.name)}
                    for n in nodes
                ],
            }
        )
        return
    shown = [node for node in nodes if node.call >= 0 or node.name == default]
    print_table(
        ["layer", "shape", "module", "index", ""],
        [(n.name, "x".join(map(str, n.shape)), n.kind, index.get(n.name, ""), remarks.get(n.name, "")) for n in shown],
    )
    tell("NAME.input is what the module NAME is given; `featx fine-tune --from` also takes an index")


_LEARNS = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}


@click.command(short_help="List the heads there are, and what they learn.")
@json_option
def heads(as_json: bool) -> None:
    """List the heads that --head takes, beside any scikit-learn classifier or regressor by its class path.

    What they learn: classes (one a sample), labels (several a sample), numbers.

    \b
    Example:
      featx heads
    """
    from featx.heads import list_heads

    found = list_heads()
    if as_json:
        print_json(
            [
                {
                    "name": head.name,
                    "summary": head.summary,
                    "class": head.class_path,
                    "defaults": head.defaults,
                    "probabilities": head.probabilities,
                    "tasks": list(head.tasks),
                    "regressor": head.regressor_path,
                }
                for head in found
            ]
        )
        return
    print_table(
        ["head", "what it is", "learns", "probabilities", "parameters set by featx"],
        [
            (
                head.name,
                head.summary,
                ", ".join(_LEARNS[task] for task in head.tasks),
                "yes" if head.probabilities else "no",
                " ".join(shlex.quote(f"{key}={value}") for key, value in head.defaults.items()),
            )
            for head in found
        ],
    )

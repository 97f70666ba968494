"""``featx export-onnx``."""

from pathlib import Path

import click

from featx._words import size
from featx.cli._options import json_option
from featx.cli._output import plain, print_json, tell

__all__ = ["export_onnx"]


@click.command(name="export-onnx", short_help="Write backbone and head as one ONNX file.")
@click.argument("run")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="By default the run's name, in the current folder.",
)
@click.option("--weights", metavar="FILE", help="Of the backbone, if that file has moved since.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
@json_option
def export_onnx(run: str, out: Path | None, weights: str | None, overwrite: bool, as_json: bool) -> None:
    """Write the backbone and the head of RUN as one ONNX file, which answers without featx and torch.

    \b
    Input:   images         uint8 (n, height, width, 3): RGB, resized and cropped already;
                            scaling, mean and std are in the file
    Outputs: features       float32 (n, ...): what `featx extract` stores
             probabilities  float32 (n, k), or scores, of a head that has none
             label          int64 (n,): the column of the largest
             accepted       bool (n,): if the run has a threshold, whether that reaches it
             labels         bool (n, k): instead of label, where a sample may have several
             values         float32 (n, t): of a regression, instead of all these

    The file says in its metadata what the columns are called (featx.classes), how images become its input
    (featx.input in words, featx.preprocessing as JSON), and where it comes from (featx.run, featx.head,
    featx.specs). It is compared with featx's own answers before it is written. It computes in float32, also for
    a head whose features were extracted in bf16 or fp16.

    \b
    Examples:
      featx export-onnx runs/photos-logistic-1a2b3c4d
      python -c "import onnxruntime as ort; s = ort.InferenceSession('photos.onnx');
                 print(s.get_modelmeta().custom_metadata_map['featx.input'])"
    """
    from featx.errors import ParameterError
    from featx.prediction import load

    predictor = load(run, weights=weights)
    path = Path(f"{predictor.run.name}.onnx") if out is None else out
    if path.exists() and not overwrite:
        raise ParameterError(f"out {str(path)!r} is there: choose another file, or add --overwrite")
    predictor.export_onnx(path)
    for precision in {spec.precision for spec in predictor.run.specs} - {"fp32"}:
        tell(f"note: the head was trained on features computed in {precision}; the file computes them in float32")
    if as_json:
        print_json({"path": str(path), "run": predictor.run.name, "bytes": path.stat().st_size})
    else:
        click.echo(plain(path))
        click.echo(f"  {size(path.stat().st_size)}")

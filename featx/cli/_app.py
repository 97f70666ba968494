"""The command ``featx``: the group, the options all commands share, and what becomes of errors."""

import os
import sys
import warnings
from collections.abc import Sequence

import click

from featx import __version__
from featx.cli._advise import advise
from featx.cli._catalog import backbones, heads, layers
from featx.cli._compare import compare, label_errors
from featx.cli._demo import demo
from featx.cli._explain import explain, plan
from featx.cli._export_onnx import export_onnx
from featx.cli._extract import extract
from featx.cli._fine_tune import fine_tune
from featx.cli._fit import continue_command, evaluate, fit_head
from featx.cli._maintain import export, import_command, merge, prune
from featx.cli._neighbors import neighbours
from featx.cli._output import tell
from featx.cli._predict import predict
from featx.cli._report import report
from featx.cli._runs import runs
from featx.cli._stores import info, list_command
from featx.cli._studio import studio
from featx.cli._sweep import sweep
from featx.cli._verify import verify
from featx.errors import FeatxError

__all__ = ["featx", "main"]


class _Group(click.Group):
    """Knows one command by two spellings."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, "neighbours" if cmd_name == "neighbors" else cmd_name)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="featx")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, and other packages' warnings.")
def featx(debug: bool) -> None:
    """Run a frozen network over every image once, keep the vectors, never pay for them again.

    \b
    featx extract photos/                   features of every image, into the cache
    featx fit-head photos                   a classifier on them, in seconds
    featx predict runs/photos-... new.jpg   its answer for other images
    """
    if not debug:
        warnings.simplefilter("ignore")


for command in (
    *(demo, plan, explain, extract, fit_head, continue_command, sweep, predict, evaluate, runs, compare, label_errors),
    *(advise, fine_tune, neighbours, report, export_onnx, studio),
    *(list_command, info, verify, export, import_command, merge, prune),
    *(backbones, layers, heads),
):
    featx.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 error, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments[:1]
    try:
        code = featx.main(arguments, prog_name="featx", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        tell("featx: interrupted; what is extracted is kept, and the same command goes on from there")
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone: there is nobody left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        tell(f"featx: {_in_words(error)}")
        return 1


def _in_words(error: Exception) -> str:
    if isinstance(error, FeatxError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "there is not enough memory: try a smaller --batch-size"
    words = f"{type(error).__name__}: {error}"
    return f"a bug ({words}): run it again as `featx --debug ...` and report what that shows"

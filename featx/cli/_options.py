"""Options that several commands have."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["BatchSize", "Triple", "cache_option", "json_option"]

F = TypeVar("F", bound=Callable[..., Any])


def cache_option(command: F) -> F:
    """``--cache DIR``."""
    text = "Folder of the stores; by default $FEATX_CACHE, else ./cache."
    return click.option("--cache", metavar="DIR", help=text)(command)


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


class Triple(click.ParamType):  # type: ignore[type-arg]
    """Three numbers with commas between them, one per colour channel."""

    name = "R,G,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(number) for number in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != 3:
            self.fail(f"{value!r} must be three numbers, such as 0.5,0.5,0.5", param, ctx)
        return numbers


class BatchSize(click.ParamType):  # type: ignore[type-arg]
    """A whole number, or ``auto``, which is None."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if isinstance(value, int):
            return value
        if not str(value).isdigit() or int(value) < 1:
            self.fail(f"{value!r} must be a whole number of at least 1, or auto", param, ctx)
        return int(value)

"""Sizes, ages and counts in words, for tables and pages alike."""

__all__ = ["age", "counted", "size"]


def size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def age(seconds: float) -> str:
    """Return an age for people."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number of things in words."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"

"""A match: all contestants with one network, round by round, each in its turn."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Agreement, agreement, median, spread_of
from bench.host import Answer, FailureError, Host
from bench.peers import UnavailableError
from bench.photos import show_images

__all__ = ["Figures", "Match"]

_FEW = 64


@dataclass
class Figures:
    """What was measured of one contestant.

    Parameters
    ----------
    loading : float
        Seconds from the start of the process until its first run could begin.
    first : float
        Seconds of a run that is not counted.
    answers : list of Answer
        One for each round.
    agreements : list of Agreement
        With the reference; none for a stage alone, and for the reference itself.
    """

    loading: float
    first: float
    answers: list[Answer] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)

    def seconds(self) -> float:
        """Return the median wall time of a run, without what featx says it prepared before the first image."""
        return median([answer.seconds - answer.stages.get("prepare", 0.0) for answer in self.answers])

    @property
    def startup(self) -> float:
        """Seconds until the first run began, and those that it took longer than the later ones."""
        return self.loading + max(0.0, self.first - median([answer.seconds for answer in self.answers]))

    def stage(self, name: str) -> float:
        """Return the median seconds of a stage."""
        return median([answer.stages.get(name, 0.0) for answer in self.answers])

    @property
    def worst(self) -> Agreement | None:
        """The agreement of the round with the lowest cosine."""
        return min(self.agreements, key=lambda each: each.cosine, default=None)

    @property
    def counts(self) -> bool:
        """Whether the features were right in every round."""
        return all(each.good for each in self.agreements)


class Match:
    """Contestants that are alive at the same time, and take turns.

    Parameters
    ----------
    names : list of str
        The first is the reference.
    begin : callable
        Starts the contestant of a name.
    images : Path
        Folder of images.
    folder : Path
        Where a run's images are shown.
    count : int
        Most images in a run.
    seconds : float
        What a run of the reference shall take at most.
    """

    def __init__(
        self, names: list[str], begin: Callable[[str], Host], images: Path, folder: Path, *, count: int, seconds: float
    ) -> None:
        self.found: dict[str, Figures] = {}
        self.failures: dict[str, str] = {}
        self.count = 0
        self.spread = 0.0
        self._reference = names[0]
        self._images = folder / "images"
        self._hosts: dict[str, Host] = {}
        few = show_images(images, min(_FEW, count), folder / "few")
        for name in names:
            try:
                self._hosts[name] = host = begin(name)
                if name == self._reference:
                    rate = few / host.run(folder / "few").seconds
                    fitting = max(_FEW, round(rate * seconds / 32) * 32)
                    self.count = show_images(images, min(count, fitting), self._images)
                untimed = host.run(self._images)
            except (FailureError, UnavailableError) as error:
                self._drop(name, error)
                if name == self._reference:
                    return
            else:
                self.found[name] = Figures(host.loading, untimed.seconds)
                _tell(f"{name} is ready after {host.loading:.1f} s, and has run once in {untimed.seconds:.1f} s")

    def play(self, turn: int) -> None:
        """Have everyone run once: the reference first, then the others, another one first each time."""
        if self._reference not in self.found:
            return
        reference = self._hosts[self._reference].run(self._images)
        self.found[self._reference].answers.append(reference)
        assert reference.features is not None
        self.spread = spread_of(reference.features)
        others = [name for name in self.found if name != self._reference]
        first = turn % max(1, len(others))
        for name in others[first:] + others[:first]:
            try:
                answer = self._hosts[name].run(self._images)
                if answer.features is not None:
                    found = agreement(
                        answer.keys,
                        answer.features,
                        reference.keys,
                        reference.features,
                        normalised=answer.normalised,
                    )
                    self.found[name].agreements.append(found)
                self.found[name].answers.append(answer)
            except (FailureError, ValueError) as error:
                self._drop(name, error)
        self._tell_round(turn)

    def close(self) -> None:
        """End all processes."""
        for host in self._hosts.values():
            host.close()

    def _drop(self, name: str, error: Exception) -> None:
        self.failures[name] = str(error)
        self.found.pop(name, None)
        if name in self._hosts:
            self._hosts.pop(name).close()
        _tell(f"{name}: {error}")

    def _tell_round(self, turn: int) -> None:
        parts = []
        for name, figures in self.found.items():
            answer = figures.answers[-1]
            note = f" (others used {answer.usage.foreign:.0%} of the machine!)" if answer.usage.disturbed else ""
            parts.append(f"{name} {len(answer.keys) / answer.seconds:.1f} img/s{note}")
        load = " ".join(f"{value:.2f}" for value in os.getloadavg())
        _tell(f"round {turn + 1}, load average {load}: {', '.join(parts)}")


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)

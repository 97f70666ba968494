"""What is worth a look in a run's answers, sample by sample, with the images."""

from collections.abc import Sequence
from typing import Any

from featx.fitting import Answers, Run
from featx.reports._origin import Pictures
from featx.reports._samples import Sample, described, mistakes, score_text, suspects, uncertain

__all__ = ["PICTURES", "look", "looks_of"]

PICTURES = 21
"""Most images of one kind that are shown."""

_SHOWN = ("val", "cv", "test")
"""Whose answers are looked at, the first that are there: a test split that is looked at is one no more."""


def looks_of(run: Run, pictures: Pictures) -> list[dict[str, Any]]:
    """Return the sections of a run's page that show samples: mistakes, close calls, labels that are suspected."""
    part = next((part for part in _SHOWN if part in run.answers), None)
    if part is None:
        return []
    answers = run.answers[part]
    n = f"{len(answers):,} {part} samples"
    wrong, doubtful = mistakes(answers), uncertain(answers)
    found = []
    if run.task == "regression":
        words = f"Of {n}, those that are farthest off, in standard deviations of the truth."
        found.append(look("mistakes", "Largest errors", words, _described(run, answers, wrong), pictures))
    else:
        words = f"{len(wrong):,} of {n} were answered wrongly{_shown(len(wrong))}."
        found.append(look("mistakes", "Most confident mistakes", words, _described(run, answers, wrong), pictures))
        words = f"Of {n}, those whose answer was the closest call."
        found.append(look("uncertain", "Least certain answers", words, _described(run, answers, doubtful), pictures))
        found += _suspected(run, pictures)
    return found


def look(anchor: str, title: str, words: str, samples: Sequence[Sample], pictures: Pictures) -> dict[str, Any]:
    """Return a section that shows samples."""
    return {"anchor": anchor, "title": title, "words": words, "items": pictures.of(samples)}


def _described(run: Run, answers: Answers, rows: Any) -> list[Sample]:
    return described(answers, run.classes, rows[:PICTURES].tolist())


def _shown(count: int) -> str:
    return f"; the {PICTURES} most confident are shown" if count > PICTURES else ""


def _suspected(run: Run, pictures: Pictures) -> list[dict[str, Any]]:
    """Return the samples whose label the head, not having been fitted on them, is sure is wrong; of all parts."""
    found = []
    n = agreed = 0
    for answers in run.answers.values():
        errors = suspects(answers)
        if errors is not None:
            n += len(answers)
            agreed += int((answers.scores.argmax(axis=1) == answers.truth).sum())
            rows = zip(errors.margin.tolist(), errors.rows.tolist(), errors.suggested.tolist(), strict=True)
            found += [(margin, answers, row, suggested) for margin, row, suggested in rows]
    if not n:
        return []
    found.sort(key=lambda one: one[0])
    samples = [
        Sample(
            answers.keys[row],
            tuple(
                f"{what}: {run.classes[label]}, {score_text(answers, answers.scores[row, label])}"
                for what, label in (("label", int(answers.truth[row])), ("looks like", suggested))
            ),
        )
        for _, answers, row, suggested in found[:PICTURES]
    ]
    shown = f", of which the {PICTURES} likeliest are shown" if len(found) > PICTURES else ""
    words = (
        f"{len(found):,} of {n:,} labels are suspected{shown}: heads that were not fitted on the sample are confidently"
        f" of another mind (confident learning). They agree with {agreed / n:.1%} of the labels: so far are they to be"
        " trusted."
    )
    return [look("suspects", "Suspected labels", words, samples, pictures)]

"""Fitting: joins stores and heads into runs, searches among heads, and tells the truth about them."""

from featx.fitting._advise import Advice, advise
from featx.fitting._answers import Answers
from featx.fitting._compare import RunComparison, common_answers, compare
from featx.fitting._continue import continue_fit
from featx.fitting._evaluate import Judgement, evaluate, judge_run
from featx.fitting._fit import concluded, fit_head
from featx.fitting._label_errors import LabelReport, Neighbor, SuspectedLabel, label_errors
from featx.fitting._layers import LayerFigures
from featx.fitting._leaderboard import PARTS, Entry, leaderboard
from featx.fitting._path import ParameterPath, parameter_paths
from featx.fitting._reproduce import commands_of, extraction_command
from featx.fitting._run import Run, find_run, is_run, require_free, runs_folder, tuned_name
from featx.fitting._shots import FewShot, few_shot
from featx.fitting._split import Rows, choose_rows, rows_by_key
from featx.fitting._sweep import Progress, Sweep, sweep
from featx.fitting._table import Table, join_stores

__all__ = [
    "PARTS",
    "Advice",
    "Answers",
    "Entry",
    "FewShot",
    "Judgement",
    "LabelReport",
    "LayerFigures",
    "Neighbor",
    "ParameterPath",
    "Progress",
    "Rows",
    "Run",
    "RunComparison",
    "SuspectedLabel",
    "Sweep",
    "Table",
    "advise",
    "choose_rows",
    "commands_of",
    "common_answers",
    "compare",
    "concluded",
    "continue_fit",
    "evaluate",
    "extraction_command",
    "few_shot",
    "find_run",
    "fit_head",
    "is_run",
    "join_stores",
    "judge_run",
    "label_errors",
    "leaderboard",
    "parameter_paths",
    "require_free",
    "rows_by_key",
    "runs_folder",
    "sweep",
    "tuned_name",
]

"""`tau0 calibrate`: when a checkpoint shall simulate, chosen from its own rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import tyro
from rich.console import Console
from rich.table import Table

from tau0.cli.arguments import UsageError, check_score
from tau0.cli.folders import writable_folder
from tau0.cli.shipped import find_checkpoint

if TYPE_CHECKING:
    from tau0.checkpoint import GateConfig
    from tau0.evaluate.calibration import CurvePoint
    from tau0.evaluate.scored_decisions import ScoredDecisions
    from tau0.evaluate.trace import EpisodeTrace

PLOT_NAME = "gate.svg"


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """Choose the gate's threshold from rollouts, and write it into the checkpoint: either how often it simulates, or what it risks.

    Rollouts are traces of `tau0 evaluate CHECKPOINT --modes rcs`. With --outcomes there, a bad decision is one after which the world's
    expert is no nearer to success; without, every decision of a failed episode counts as bad, which is a coarser question.

    Attributes:
        checkpoint: Folder of a checkpoint or of a training run. Only the gate in its config changes.
        traces: Folders that `tau0 evaluate` left beside its results.
        simulate_share: Wanted share of decisions that are simulated, from 0 to below 1.
        risk: Wanted limit for the share of bad decisions among those that are not simulated, between 0 and 1.
        confidence: With which the risk's limit shall hold.
        score_sigmas: Noise levels that the rollouts were scored with, where those are not the checkpoint's; they go into the gate.
        score_noises: Noises per level, likewise.
        score_error: absolute or relative, likewise.
        out: Folder for a picture of the precision-recall curve; none unless given.
        dry_run: Say what would be chosen, and leave the checkpoint as it is.
    """

    checkpoint: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    traces: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="TRACES")]
    simulate_share: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    risk: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    confidence: float = 0.95
    score_sigmas: tuple[float, ...] = ()
    score_noises: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    score_error: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False

    stopped: ClassVar[str] = "Stopped. The checkpoint is as it was."

    def run(self, console: Console, stderr: Console) -> int:  # noqa: ARG002
        """Chooses, prints, draws and writes."""
        from dataclasses import replace

        from tau0.checkpoint import GateConfig, save_config
        from tau0.evaluate.calibration import Goal, chosen_gate
        from tau0.evaluate.scored_decisions import scored_decisions
        from tau0.plan.agent import Search
        from tau0.plan.spec import read_config, scored_by

        self._check()
        folder = find_checkpoint(self.checkpoint)
        if self.out is not None:
            writable_folder(self.out)
        config = read_config(folder)
        search = Search(score_sigmas=self.score_sigmas or None, score_noises=self.score_noises, score_error=cast(Any, self.score_error))
        folders, traces = self._read_traces()
        decisions = scored_decisions(traces, lambda num_candidates: scored_by(folder, num_candidates, search), folders)
        goal = Goal(simulate_share=self.simulate_share, risk=self.risk, confidence=self.confidence)
        gate, point = chosen_gate(decisions, search.gate(config.gate or GateConfig(threshold=0.0)), goal)
        console.print(_table(decisions, gate, point, config.gate))
        if self.out is not None:
            console.print(str(self._draw(self.out, decisions, point)), markup=False, highlight=False, soft_wrap=True)
        if not self.dry_run:
            save_config(replace(config, gate=gate), folder)
        said = "would be" if self.dry_run else "is"
        console.print(f"the gate of {folder} {said} {gate.threshold:.6g}", markup=False, highlight=False, soft_wrap=True)
        return 0

    def _check(self) -> None:
        if (self.simulate_share is None) == (self.risk is None):
            raise UsageError("give one of --simulate-share and --risk: how often to simulate, or what may go wrong where it does not")
        check_score(self.score_sigmas, self.score_noises, self.score_error)
        if not 0 < self.confidence < 1:
            raise UsageError(f"--confidence is {self.confidence:g}, it must lie between 0 and 1")
        if not self.traces:
            raise UsageError("give at least one folder of traces, such as runs/evaluation-traces")
        for path in self.traces:
            if not path.is_dir():
                raise UsageError(f"{path} is not a folder; give traces that `tau0 evaluate` left, such as runs/evaluation-traces")

    def _read_traces(self) -> tuple[list[Path], list[EpisodeTrace]]:
        """The folder of every trace, and the traces."""
        from tau0.evaluate.trace import read_trace, trace_folders

        folders = [path for folder in self.traces for path in trace_folders(folder)]
        return folders, [read_trace(path) for path in folders]

    def _draw(self, out: Path, decisions: ScoredDecisions, point: CurvePoint) -> Path:
        """Writes the picture; says where."""
        from tau0.evaluate.calibration import curve
        from tau0.evaluate.curve_plot import curve_svg
        from tau0.folders import replace_text

        title = f"{self.checkpoint}: {len(decisions.scores)} decisions of {decisions.num_episodes} episodes"
        points = curve(decisions, self.confidence)
        replace_text(out / PLOT_NAME, curve_svg(points, point, float(decisions.is_bad.mean()), title, decisions.label))
        return out / PLOT_NAME


def _table(decisions: ScoredDecisions, gate: GateConfig, point: CurvePoint, old: GateConfig | None) -> Table:
    from tau0.evaluate.calibration import ranking_quality

    table = Table(show_header=False, title="the gate")
    quality = ranking_quality(decisions)
    rows = (
        ("rollouts", f"{decisions.num_episodes} episodes, {len(decisions.scores)} decisions, {decisions.num_candidates} candidates each"),
        ("a bad decision is a", f"{decisions.label}: {decisions.is_bad.mean():.1%} are"),
        ("AUROC of low scores for bad decisions", "only one kind was seen" if quality is None else f"{quality:.2f} (chance 0.50)"),
        ("threshold", f"{gate.threshold:.6g}" + ("" if old is None else f" (was {old.threshold:.6g})")),
        ("simulates", f"{point.simulated:.1%} of decisions"),
        ("of the simulated, bad (precision)", _percent(point.precision)),
        ("of the bad, simulated (recall)", _percent(point.recall)),
        ("of those that pass, bad (risk)", f"{point.risk:.1%}, at most {point.risk_bound:.1%}"),
    )
    for row in rows:
        table.add_row(*row)
    return table


def _percent(share: float) -> str:
    """Where there is nothing to take a share of, a dash."""
    return "–" if isnan(share) else f"{share:.1%}"

"""Episodes that are pooled in one table are of one evaluation, or the table is refused: its rates would be nobody's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tau0.evaluate.records import EpisodeRecord, RecordsError


def check_one_evaluation(records: Sequence[EpisodeRecord]) -> None:
    """Raises `RecordsError` where records are of two checkpoints, or those of one mode of two checkpoints or settings.

    Records that do not name their checkpoint, as those of earlier versions, may be of any.
    """
    if len(found := _kinds(record.checkpoint for record in records)) > 1:
        raise RecordsError(
            f"these episodes are of checkpoints {found[0]} and {found[1]}, and one table would compare them as one: "
            "evaluate each with an --out of its own, and set the files side by side with `tau0 compare`"
        )
    for mode in dict.fromkeys(record.result.mode for record in records):
        found = _kinds(record.fingerprint for record in records if record.result.mode == mode)
        if len(found) > 1:
            raise RecordsError(
                f"the episodes of mode {mode} are of checkpoints or settings {found[0]} and {found[1]}, and one table would count them "
                "together: evaluate each with an --out of its own"
            )


def check_one_wording(records: Sequence[EpisodeRecord]) -> None:
    """Raises `RecordsError` where some records are of the world's own wording and some of others, or one initial state of two wordings.

    Wordings that take turns from seed to seed, as held-out ones do, are one evaluation.
    """
    advice = "evaluate each wording with an --out of its own"
    if len({record.requested_instruction is None for record in records}) > 1:
        raise RecordsError(f"these episodes mix the training wording and others, and one table would count them together: {advice}")
    told: dict[tuple[str, int, str], str] = {}
    for result in (record.result for record in records):
        words = told.setdefault((result.task, result.seed, result.mode), result.instruction)
        if words != result.instruction:
            raise RecordsError(
                f"{result.task}, seed {result.seed}, mode {result.mode} is there with two wordings, {words!r} and "
                f"{result.instruction!r}: {advice}"
            )


def _kinds(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))

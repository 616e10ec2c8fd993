"""Checks of a dataset against what its description says of it: is it the one described, and can its numbers be in those units."""

from __future__ import annotations

import numpy as np

from tau0.contract import ContractError
from tau0.data.description import SourceDescription
from tau0.data.description_check import check_description
from tau0.data.doctor.survey import EpisodeView
from tau0.data.episodes import Dataset
from tau0.data.findings import Finding
from tau0.data.row_checks import place
from tau0.data.units import unit_faults


def check_described(dataset: Dataset, description: SourceDescription) -> list[Finding]:
    """An error where the dataset is not the one described."""
    try:
        check_description(description, dataset)
    except ContractError as error:
        advice = "give the description of this dataset, or correct it"
        return [Finding(severity="error", check="description", where=description.name, what=str(error), advice=advice)]
    return []


def check_episode_described(dataset: Dataset, view: EpisodeView, description: SourceDescription) -> list[Finding]:
    """An error for each part whose numbers cannot be what is said: millimetres for metres, degrees for radians."""
    rows = view.rows
    if rows is None or not all(np.isfinite(column).all() for column in rows.values() if np.issubdtype(column.dtype, np.floating)):
        return []
    return [
        Finding(
            severity="error",
            check="units",
            where=place(view.episode, dataset.info),
            what=fault,
            advice=f"convert the column, or give its `scale` in the description {description.name!r}",
            episode=view.episode.index,
        )
        for fault in unit_faults(description, rows, 1 / dataset.fps)
    ]

"""The card on the page: any version of it, whole or not, and nothing that is not one."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from fake_cards import fake_card

from tau0.evaluate.report_card import CardError, card_figure, read_card
from tau0.evaluate.report_card_measures import SECTIONS
from tau0.evaluate.simulator_results import SimulatorCard
from tau0.evaluate.statistics import Interval


def _rows(figure: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["words"]: row for section in figure["sections"] for row in section["rows"]}


def test_every_section_has_rows_and_every_wanted_value_a_verdict() -> None:
    figure = card_figure(fake_card())
    assert len(figure["sections"]) == 6
    rows = _rows(figure)
    assert (rows["where something moves"]["found"], rows["actions of any other moment"]["is_met"]) == ("41%", True)
    assert (rows["success above failure"]["found"], rows["success above failure"]["is_met"]) == ("76%", False)
    assert rows["with the opposite actions (below 0 is right)"]["found"] == "−0.61"
    assert rows["time until a still picture is as good"]["found"] == "8.8 s"
    assert figure["counts"] == "held-out moments: 480 demonstration, 480 failure, 300 branch, from 261 episodes"
    for row in rows.values():
        assert all(-1e-9 <= row[name] <= 100 + 1e-9 for name in ("percent", "low", "high"))


def test_every_measure_is_a_field_of_the_card() -> None:
    for measure in [measure for _, measures in SECTIONS.values() for measure in measures]:
        kind: Any = SimulatorCard
        for name in measure.path.split("."):
            if is_dataclass(kind):
                (kind,) = [one for one in _kinds(get_type_hints(kind)[name]) if one is not type(None)]
            else:
                assert get_origin(kind) is dict, measure.path
                kind = get_args(kind)[1]
        assert kind is Interval, measure.path


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)


def test_pictures_say_which_way_is_better() -> None:
    rows = card_figure(fake_card())["pictures"]
    assert len(rows) == 12
    by_name = {(row["camera"], row["measure"], row["after"]): row for row in rows}
    assert by_name["front", "PSNR", "1.6 s"]["gain"] == "+2.2 dB"
    assert by_name["front", "PSNR", "1.6 s"]["is_better"]
    assert by_name["wrist", "perceptual distance", "0.8 s"]["sense"] == "less is better"
    assert by_name["wrist", "perceptual distance", "0.8 s"]["is_worse"]


def test_a_time_that_was_not_reached_is_called_so() -> None:
    card = fake_card()
    card["rollouts"] |= {"is_broken": False}
    figure = card_figure(card)
    row = _rows(figure)["time until a still picture is as good"]
    assert (row["found"], row["ends"]) == ("over 8.8 s", "as long as recorded")
    assert figure["rollouts"]["broken"] is None
    assert "for as long as the recordings last" in figure["rollouts"]["words"]


def test_drawings_stay_within_their_axes() -> None:
    figure = card_figure(fake_card())
    assert figure["rollouts"]["words"] == "a still picture is as good from 8.8 s on"
    assert 0 < figure["rollouts"]["broken"] < 100
    assert all(-1e-9 <= point[name] <= 100 for point in figure["calibration"] for name in ("x", "y", "low", "high"))


def test_an_older_card_is_shown_as_far_as_it_goes() -> None:
    old = {name: value for name, value in fake_card().items() if name in ("fingerprint", "future", "progress")}
    old["progress"] = {"auroc": None, "top": {"estimate": 0.5, "low": 0.4, "high": 0.6}}
    figure = card_figure(old)
    assert [section["title"] for section in figure["sections"]] == ["Does it foresee what happens?", "Does its progress mean anything?"]
    assert (figure["rollouts"], figure["calibration"], figure["pictures"], figure["counts"]) == (None, None, [], "")
    assert "chance" not in _rows(figure)["best attempt from one moment found"]["at"]


def test_what_a_newer_card_adds_is_listed_under_its_own_name() -> None:
    new = fake_card() | {"warmth": {"of_hands": 0.5, "curve": [0.1, 0.4, 0.2], "words": "ignored", "mixed": [1, "a"]}, "empty": None}
    others = {line["name"]: line for line in card_figure(new)["others"]}
    assert others["warmth · of hands"]["found"] == "0.5"
    assert others["warmth · curve"]["curve"].startswith("M0.0 ")
    assert not {"warmth · words", "warmth · mixed", "empty"} & others.keys()
    assert not any(name.startswith(("future", "fingerprint", "num windows")) for name in others)


@pytest.mark.parametrize(
    "broken", [{"future": 3}, {"future": {"moving": {"estimate": "much"}}}, {"actions": [], "rollouts": {"frames": 7}}]
)
def test_nonsense_in_a_card_is_passed_over(broken: dict[str, Any]) -> None:
    assert card_figure(broken)["pictures"] == []


def test_other_files_are_refused_with_their_name(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    with pytest.raises(CardError, match=r"card\.json cannot be read"):
        read_card(path)
    for text, words in (
        ("no", "is not JSON"),
        ("[1]", "is not the card"),
        ('{"a": 1}', "is not the card"),
        ("x" * 2_000_001, "2,000,001 bytes"),
    ):
        path.write_text(text)
        with pytest.raises(CardError, match=words):
            read_card(path)
    path.write_text(json.dumps(fake_card()))
    assert read_card(path)["num_moving"] == 312

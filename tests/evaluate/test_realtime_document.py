"""The table of docs/realtime.md is that of the episodes beside it."""

from __future__ import annotations

from pathlib import Path

from tau0.evaluate.delay_table import delay_markdown, summarize_delays
from tau0.evaluate.records import read_records

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_is_that_of_the_episodes() -> None:
    page = (DOCS / "realtime.md").read_text(encoding="utf-8")
    table = page.split("<!-- table -->\n")[1].split("<!-- end of table -->")[0]
    assert table == delay_markdown(summarize_delays(read_records(DOCS / "results" / "realtime-20hz.jsonl")))

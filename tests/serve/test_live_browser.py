"""The live page in a real browser, as wide as a phone, beside a robot that moves."""

from __future__ import annotations

import threading
from pathlib import Path

from browser import page
from serving import serving
from test_robot import Arm, loop, wait_until

from tau0.checkpoint import Checkpoint
from tau0.contract import Float
from tau0.serve.access import Access
from tau0.serve.agents import Agents
from tau0.serve.client import Client
from tau0.serve.link import Link
from tau0.serve.protocol import PlannerChoice

TOKEN = "correct horse battery staple"


class Guided(Arm):
    """An arm that is done when it is told so."""

    ends = False

    def step(self, action: Float) -> bool:
        return super().step(action) or self.ends


def test_a_person_sees_a_robot_and_has_it_hold(tmp_path: Path, checkpoint: Checkpoint) -> None:
    full = PlannerChoice(mode="full", candidates=2)
    agents = Agents(checkpoint, full, shows_frames=True)
    with serving(agents, access=Access(port=0, token=TOKEN)) as server, page(tmp_path / "profile") as shown:
        arm, link = Guided(), Link(Client(server.address, TOKEN))
        driving = threading.Thread(target=lambda: loop(arm, link).run(10**6))
        driving.start()
        try:
            shown.go(f"http://anybody:{TOKEN.replace(' ', '%20')}@127.0.0.1:{server.port}/")
            shown.wait(
                "document.querySelectorAll('#cameras img').length === 2 && document.querySelector('#cameras img').naturalWidth === 32"
            )
            shown.wait("document.querySelectorAll('#candidates li').length === 2")
            shown.wait("document.querySelectorAll('#imagined polyline').length === 2")
            shown.wait("document.querySelectorAll('#progress polyline').length === 1")
            shown.wait("document.querySelectorAll('#futures img').length === 2")
            assert shown.value("document.getElementById('instruction').textContent") == "go on"
            assert "threshold" in shown.value("document.getElementById('gate').textContent")
            assert " ms" in shown.value("document.getElementById('latency').textContent")
            shown.value("document.getElementById('pause').click()")
            wait_until(lambda: link.stop == "paused at the live page")
            shown.wait("document.getElementById('notice').textContent === 'This robot is paused.'")
            count = len(arm.commands) + 2
            wait_until(lambda: len(arm.commands) > count + 10)
            assert all(arm.held[count:])
            shown.wait("document.getElementById('trips').textContent.includes('stop')")
            shown.value("document.getElementById('pause').click()")
            wait_until(lambda: link.stop is None and not arm.held[-1])
            shown.value("document.getElementById('stop').click()")
            wait_until(lambda: link.stop == "somebody at the live page" and arm.held[-1])
            shown.wait("document.getElementById('stop').textContent === 'End the stop'")
            shown.value("document.getElementById('stop').click()")
            wait_until(lambda: link.stop is None and not arm.held[-1])
            assert shown.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
            assert shown.mistakes == []
        finally:
            arm.ends = True
            driving.join()
            link.close()

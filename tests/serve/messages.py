"""A good observation, as it goes over the wire, and limits of a server that counts no messages."""

from __future__ import annotations

from dataclasses import replace

from tau0.contract import Observation
from tau0.serve import wire
from tau0.serve.limits import ServeLimits
from tau0.serve.requests import plain_observation
from tiny import EMBODIMENT

OBSERVATION = Observation.fake(EMBODIMENT)
PLAIN = wire.encode(plain_observation(OBSERVATION))
PATIENT = replace(ServeLimits(), messages_per_s=1e6)

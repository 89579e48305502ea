"""One segment of twenty: found, named, and shown by leaving it out; through both stages as the worker runs them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from driftbus.detectors.parts import with_parts
from driftbus.detectors.profile import Profile
from driftbus.detectors.reference import CategoryData, NumericData, build_profile
from driftbus.detectors.settings import Settings
from driftbus.schemas.columns import PRESENT, Block
from driftbus.schemas.config import Config
from driftbus.schemas.events import DriftEvent, Incident
from driftbus.schemas.hashing import hash_bytes
from driftbus.stream.driver import Driver
from driftbus.stream.facts import RecentRows
from driftbus.stream.plan import Plans, build_plans

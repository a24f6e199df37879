"""The ceiling of the broker's memory: what it does without, and that it recovers."""

import re
from collections.abc import Iterator
from pathlib import Path

import packets
import pytest
from mqtt import Client
from test_admin import Watched

pytestmark = pytest.mark.bellbird

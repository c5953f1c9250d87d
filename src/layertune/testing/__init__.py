"""Fakes that obey the same protocols as the real things, for tests of layertune and of programs built on it."""

from layertune.testing.fake_runner import FakeRunner, Noise, measured
from layertune.testing.fake_server import FakeServer, serving
from layertune.testing.recorded_table import RecordedTable, load_table
from layertune.testing.replay_runner import ReplayRunner

__all__ = ["FakeRunner", "FakeServer", "Noise", "RecordedTable", "ReplayRunner", "load_table", "measured", "serving"]

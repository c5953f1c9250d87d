"""Fakes that obey the same protocols as the real things, for tests of layertune and of programs built on it."""

from layertune.testing.fake_server import FakeServer, serving
from layertune.testing.fakes import FakeRunner, Noise, measured
from layertune.testing.replay import ReplayRunner
from layertune.testing.table import RecordedTable, load_table

__all__ = ["FakeRunner", "FakeServer", "Noise", "RecordedTable", "ReplayRunner", "load_table", "measured", "serving"]

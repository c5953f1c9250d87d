"""Fakes that obey the same protocols as the real things, for tests of layertune and of programs built on it."""

from layertune.testing.fakes import FakeRunner, Noise, measured

__all__ = ["FakeRunner", "Noise", "measured"]

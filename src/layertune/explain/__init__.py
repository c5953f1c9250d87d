"""Explanation of a pick: the effect of one step of each setting, and whether its models should share the device.

Each value is marked as measured, modelled or planned.
"""

from layertune.explain.coexist import Alone, Case, Swap, coexist_or_swap
from layertune.explain.explanation import Explanation, engines_to_plan, explain
from layertune.explain.line import Change, Gives, Line, Memory
from layertune.explain.steps import NoStep

__all__ = [
    "Alone",
    "Case",
    "Change",
    "Explanation",
    "Gives",
    "Line",
    "Memory",
    "NoStep",
    "Swap",
    "coexist_or_swap",
    "engines_to_plan",
    "explain",
]

"""Which tests CI may skip. People may skip any: a test says what it needs, and the reason is printed."""

import os
import re

import pytest

# The start of a reason, as a regular expression, and why no CI machine can have what the test needs.
ACCEPTED = {
    "llama.cpp sees no GPU here": "CI has no GPU",
}


def refused(reporter: pytest.TerminalReporter) -> list[str]:
    """Return a line for each skipped test that CI does not accept; none unless LAYERTUNE_STRICT_SKIPS is set."""
    if not os.environ.get("LAYERTUNE_STRICT_SKIPS"):
        return []
    lines = []
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not re.match("|".join(ACCEPTED), reason.removeprefix("Skipped: ")):
            lines.append(f"not accepted in CI: {report.nodeid} skipped: {reason}")
    return lines

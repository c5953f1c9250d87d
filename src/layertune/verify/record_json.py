"""The record as JSON, with the raw requests of each phase as columns."""

from dataclasses import asdict
from typing import Any

from layertune.verify.record import Check, Verification
from layertune.verify.requests import Failed, Phase

_DIGITS = 4  # tenths of a millisecond


def as_json(found: Verification) -> dict[str, Any]:
    """Return the record as a dictionary for json.dumps: its fields, whether it passed, and each phase's requests."""
    return {
        "passed": found.passed,
        "started": found.started,
        "layertune_version": found.layertune_version,
        "subject": {
            **{
                key: getattr(found.subject, key)
                for key in ("study", "created", "trial", "device", "emulated", "server")
            },
            "settings": {name: engine.as_dict() for name, engine in found.subject.settings.items()},
            "builds": dict(found.subject.builds),
            "measured_build": found.subject.measured_build,
            "untaken": list(found.subject.untaken),
        },
        "load": asdict(found.load),
        "plan": asdict(found.plan),
        "checks": [_check(check) for check in found.checks],
        "compared": [
            {
                "model": row.model,
                "how": row.how,
                "tokens_per_s": row.here,
                "samples": list(row.rates),
                "study": None if row.study is None else row.study.model_dump(),
            }
            for row in found.compared
        ],
        "memory": None if found.memory is None else asdict(found.memory),
        "meanwhile": {phase: list(words) for phase, words in found.meanwhile.items()},
        "phases": [_phase(phase) for phase in found.phases],
    }


def _check(check: Check) -> dict[str, Any]:
    """Return a check. In the file, the state "not checked" has its older name."""
    return {**asdict(check), "state": "not walked" if check.state == "not checked" else check.state}


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "name": phase.name,
        "n_streams": phase.n_streams,
        "wall_s": phase.wall_s,
        "failures": phase.failures(),
        "models": {
            name: {**asdict(phase.stats(name)), "requests": _requests(phase, name), "failed": _failed(phase, name)}
            for name in phase.outcomes
        },
    }


def _failed(phase: Phase, name: str) -> list[tuple[float, str]]:
    """Return when each failed request was sent, in seconds from the phase's start, and why it failed."""
    return [(round(each.started_s, _DIGITS), each.why) for each in phase.outcomes[name] if isinstance(each, Failed)]


def _requests(phase: Phase, name: str) -> dict[str, list[float | int | None]]:
    answered = phase.answered(name)
    columns = {
        key: [getattr(each, key) for each in answered] for key in ("started_s", "ttft_s", "tpot_s", "duration_s")
    }
    rounded = {
        key: [None if each is None else round(each, _DIGITS) for each in values] for key, values in columns.items()
    }
    return {**rounded, "n_generated": [each.n_generated for each in answered]}

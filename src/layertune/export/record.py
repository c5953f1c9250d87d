"""One trial as JSON, for programs: its settings, figures and where they come from."""

import json

from layertune.results.result import Result, TrialInfo

FILE_NAME = "trial.json"


def render_json(result: Result, trial: TrialInfo) -> str:
    record = {
        "study": result.study.model_dump(),
        "hardware": result.hardware.model_dump(),
        "models": {name: model.model_dump() for name, model in result.models.items()},
        "workload": {name: workload.model_dump() for name, workload in result.workload.items()},
        "budget": result.budget.model_dump(),
        "host_limits": None if result.host_limits is None else result.host_limits.model_dump(),
        "trial": trial.model_dump(mode="json"),
    }
    return json.dumps(record, indent=1) + "\n"

"""Write the JSON schema of the study config to docs/study.schema.json; `--check` only says whether it is current."""

import json
import sys
from pathlib import Path

from layertune.config import StudyConfig

FILE = Path(__file__).resolve().parent.parent / "docs" / "study.schema.json"


def main() -> int:
    schema = json.dumps(StudyConfig.model_json_schema(), indent=2) + "\n"
    if "--check" in sys.argv:
        current = FILE.exists() and FILE.read_text(encoding="utf-8") == schema
        print(f"{FILE.name} is {'current' if current else 'out of date: run python scripts/config_schema.py'}")
        return 0 if current else 1
    FILE.write_text(schema, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The INI file of llama-server's router (`--models-preset`), one section per model.

A value ends at a line break, `;` or `#`, and blanks around it are dropped. It cannot be quoted (common/preset.cpp,
parse_ini_from_file). So file names with such characters, or with characters that are not printable, are refused.
"""

from layertune.export.flags import server_flags
from layertune.export.header import comment
from layertune.export.paths import cannot_hold, model_path
from layertune.results.result import Result, TrialInfo

FILE_NAME = "preset.ini"


def render_preset(result: Result, trial: TrialInfo, models_dir: str) -> dict[str, str]:
    """Return the INI file. Raises UsageError if it cannot hold a model's file name."""
    lines = [
        *comment(result, trial, ";"),
        ";",
        f"; llama-server --models-preset {FILE_NAME} --models-max {len(result.models)}",
        "version = 1",
    ]
    for name in result.models:
        path = model_path(result, name, models_dir)
        if ";" in path or "#" in path or path.endswith(" ") or not path.isprintable():
            raise cannot_hold(path, "a llama-server preset", "`;`, `#`, blanks at its end and control characters")
        # The router chooses the port of each model, so there is no address here.
        lines += ["", f"[{name}]", f"model = {path}"]
        lines += [f"{flag.option} = {flag.value}" for flag in server_flags(result, trial, name)]
        lines.append("load-on-startup = true")
    return {FILE_NAME: "\n".join(lines) + "\n"}

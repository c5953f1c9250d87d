"""The INI file of llama-server's router, `--models-preset`: one section for each model.

A value ends at a line break and at every `;` and `#`, and loses the blanks around it; nothing quotes them
(common/preset.cpp, parse_ini_from_file). A name with one of these is refused, and so is what is not printable.
"""

from layertune.export.flags import server_flags
from layertune.export.header import comment
from layertune.export.paths import cannot_hold, model_path
from layertune.results.result import Result, TrialInfo

FILE_NAME = "preset.ini"


def render_preset(result: Result, trial: TrialInfo, models_dir: str) -> dict[str, str]:
    """Raises UsageError where a model's file name cannot be held."""
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
        # The router starts each model on a port of its own, so there is no address here.
        lines += ["", f"[{name}]", f"model = {path}"]
        lines += [f"{flag.option} = {flag.value}" for flag in server_flags(result, trial, name)]
        lines.append("load-on-startup = true")
    return {FILE_NAME: "\n".join(lines) + "\n"}

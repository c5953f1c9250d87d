"""One systemd unit per model, for its llama-server.

An argument of ExecStart in double quotes can hold every character with C escapes; `%` and `$` are doubled
(systemd.service(5), "Command lines"; systemd.syntax(7), "Quoting").
"""

from layertune.export.header import comment
from layertune.export.llama_server import all_flags
from layertune.export.paths import is_plain
from layertune.results.result import Result, TrialInfo


def render_systemd(result: Result, trial: TrialInfo, models_dir: str) -> dict[str, str]:
    """Return the units. Raises UsageError if no text file can hold a model's file name."""
    return {
        f"llama-server-{name}.service": "\n".join(_unit(result, trial, name, models_dir)) + "\n"
        for name in result.models
    }


def _unit(result: Result, trial: TrialInfo, name: str, models_dir: str) -> list[str]:
    options = ["  " + " ".join(map(_quoted, flag.words)) for flag in all_flags(result, trial, name, models_dir)]
    return [
        *comment(result, trial),
        "[Unit]",
        f"Description=llama-server of the model {name}",
        "After=network.target",
        "",
        "[Service]",
        " \\\n".join(["ExecStart=llama-server", *options]),
        "Restart=on-failure",
        "RestartSec=5",
        *_limits(result),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]


def _quoted(word: str) -> str:
    return word if is_plain(word) else f'"{_escaped(word)}"'


def _escaped(word: str) -> str:
    """Return an argument with C escapes, which unprintable characters need too: systemd rejects some of them."""
    found = ""
    for char in word:
        if char in '"\\':
            found += f"\\{char}"
        elif char in "%$":
            found += char * 2
        elif char.isprintable():
            found += char
        else:
            found += "".join(f"\\x{byte:02x}" for byte in char.encode())
    return found


def _limits(result: Result) -> list[str]:
    limits, lines = result.host_limits, []
    if limits is not None and limits.n_cpus is not None:
        lines.append(f"CPUQuota={limits.n_cpus}00%")
    if limits is not None and limits.ram_per_model_bytes is not None:
        lines.append(f"MemoryMax={limits.ram_per_model_bytes}")
    return lines

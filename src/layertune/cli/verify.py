"""layertune verify: the exported stack started, loaded, soaked and judged."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layertune.cli.console import printing, say, show, show_json
from layertune.cli.signals import end_as_ctrl_c
from layertune.config.env_file import load_env
from layertune.errors import UsageError, VerificationFailed
from layertune.redaction import is_clear, without_password
from layertune.regular_files import is_folder
from layertune.study.outputs import check_output, write_output
from layertune.study.verification import Request, verify
from layertune.study.verified import VerifiedStudy, open_verified
from layertune.units import parse_duration
from layertune.verify.markdown import render_markdown
from layertune.verify.record import Check
from layertune.verify.record_json import as_json as record_as_json

API_KEY = "LLAMA_API_KEY"  # llama-server's own


@dataclass(frozen=True, slots=True)
class Options:
    """The options as the user wrote them; `urls` as `NAME=URL`. `api_key_env` names the environment variable that has
    the servers' API key."""

    env: Path | None
    duration: str
    n_streams: int
    urls: Sequence[str]
    pick: str
    server: Path | None
    models_dir: Path | None
    api_key_env: str | None = None


def run(study: Path | None, options: Options, *, output: Path | None, as_json: bool) -> None:
    if output is not None and not is_folder(output.absolute().parent):
        # Known before the soak, not after it.
        raise UsageError(f"there is no folder {output.parent} for the record", remedy="make it, or choose another -o")
    opened = _study(study, options)
    reads = [*(path for path in (study, options.env) if path is not None), *opened.files()]
    if output is not None:
        check_output(output, reads=reads)
    requested = _request(opened, options)
    end_as_ctrl_c()
    found = verify(opened, requested)
    text = render_markdown(found)
    with printing():
        if as_json:
            show_json(record_as_json(found), indent=None)
        else:
            show(*text.removesuffix("\n").split("\n"), wrap=False)
    if output is not None:
        write_output(output, text, reads=reads)
        say(f"wrote {output}")
    if not found.passed:
        raise _failed(found.failed())


def _request(study: VerifiedStudy, options: Options) -> Request:
    return Request(
        options.pick,
        _duration_s(options.duration),
        options.n_streams,
        {} if options.env is None else load_env(options.env),
        _urls(options.urls, list(study.result.models)),
        api_key_of(options.api_key_env),
        options.server,
        say,
    )


def _study(study: Path | None, options: Options) -> VerifiedStudy:
    if study is None and options.env is None:
        raise UsageError("nothing is given to verify", remedy="give STUDY, or --env FILE of a study's folder")
    folder = study if study is not None else options.env.parent if options.env is not None else Path()
    return open_verified(folder, options.models_dir)


def _urls(written: Sequence[str], names: list[str]) -> dict[str, str]:
    urls = {}
    for option in written:
        name, equals, url = option.partition("=")
        like = "write it like " + ", ".join(f"--url {each}=http://127.0.0.1:8001" for each in names)
        if not equals or name not in names or not url.startswith(("http://", "https://")):
            shown = f"{name}{equals}{without_password(url)}" if equals else without_password(option)
            raise UsageError(f"--url {shown} is no NAME=URL of this study", remedy=like)
        if not is_clear(url) or "?" in url:
            raise UsageError(
                f"--url {name}={without_password(url)} is no address of a server",
                remedy=f"{like}, and an @, / or : of a password as %40, %2F or %3A",
            )
        if name in urls:
            raise UsageError(f"--url {name} is given twice", remedy="leave one of them out")
        urls[name] = url
    if urls and set(urls) != set(names):
        lacking = ", ".join(name for name in names if name not in urls)
        raise UsageError(f"there is no --url for {lacking}", remedy="give one for every model, or none")
    return urls


def api_key_of(variable: str | None) -> str | None:
    """Return the API key that this variable of the environment has, or LLAMA_API_KEY without one; None: no key.

    Raises:
        UsageError: the variable is not there, or no header can hold its value.
    """
    # Neither is repeated: somebody may give the key itself for the name.
    key = os.environ.get(variable or API_KEY, "").split(",")[0].strip()
    if variable is not None and not key:
        raise UsageError("--api-key-env names no variable of the environment", remedy=f"export it, or use {API_KEY}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError("the API key has a character that no key has", remedy="check the variable that holds it")
    return key or None


def _duration_s(written: str) -> float:
    try:
        duration_s = parse_duration(written)
    except ValueError as error:
        raise UsageError(f"--duration: {error}") from error
    if duration_s == 0:
        raise UsageError("--duration 0 is no soak", remedy="write it like 30m or 90s")
    return duration_s


def _failed(checks: Sequence[Check]) -> VerificationFailed:
    first = checks[0]
    more = f" (and {len(checks) - 1} more)" if len(checks) > 1 else ""
    return VerificationFailed(f"verification failed: {first.what}: {first.evidence}{more}", remedy=first.advice)

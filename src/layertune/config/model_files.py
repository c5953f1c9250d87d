"""The model files that a config names, found on the disk: paths, and patterns like `qwen-*.gguf`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from glob import has_magic
from itertools import combinations
from pathlib import Path
from typing import Any

from layertune.config.model_config import ModelConfig
from layertune.errors import ConfigError, listed
from layertune.regular_files import is_there

_FURTHER_PART = re.compile(r".+-(?!00001)\d{5}-of-\d{5}\.gguf")  # of a split model


def located(key: str, folder: Path, path: Path) -> Path:
    """Return a path that is relative to `folder`, from there.

    Raises:
        ConfigError: the path has no home folder to expand, or cannot be written into a study's files.
    """
    try:
        found = folder / path.expanduser()
        str(found).encode()
    except RuntimeError as error:
        raise ConfigError(f"{key}: there is no home folder for {path}", remedy="write the whole path") from error
    except UnicodeEncodeError as error:
        raise ConfigError(f"{key}: {folder / path} is not UTF-8", remedy="rename the file or its folder") from error
    return found


def with_files(key: str, folder: Path, model: ModelConfig) -> ModelConfig:
    """Return a model with its files as paths from here; `key` names the model in messages.

    Raises:
        ConfigError: a pattern matches no file, a file is named twice, or two have the same name.
    """
    changes: dict[str, Any] = {}
    if model.path is not None:
        changes["path"] = located(f"{key}.path", folder, model.path)
        files = [changes["path"]]
    else:
        files = [file for each in model.files or () for file in _found(f"{key}.files", folder, each)]
        _check_different(f"{key}.files", files)
        changes["files"] = files
    names, chosen = [file.name for file in files], model.space.file
    searched = names if chosen is None else chosen if isinstance(chosen, list) else [chosen]
    for where, named in (("space.file", searched), ("quality", model.quality)):
        for name in named:
            if name not in names:
                raise ConfigError(f"{key}.{where}: there is no file {name}", remedy=f"choose of {listed(names)}")
    if lacking := [name for name in searched if model.quality and name not in model.quality]:
        raise ConfigError(f"{key}.quality has no score of {listed(lacking)}", remedy="score every file, or none")
    if model.reference is not None:
        named_file = next((file for file in files if file.name == str(model.reference)), None)
        changes["reference"] = named_file or located(f"{key}.reference", folder, model.reference)
    return model.model_copy(update=changes)


def check_names(source: str, models: Mapping[str, ModelConfig]) -> None:
    """Check that no two models have different files of one name: results and exports name a file by its name.

    Raises:
        ConfigError: two have; the message names both.
    """
    files = [(name, file) for name, model in models.items() for file in model.paths.values()]
    for (one, file), (other, another) in combinations(files, 2):
        alike = file.name == another.name and file != another
        if alike and not (is_there(file) and is_there(another) and file.samefile(another)):
            raise ConfigError(
                f"{source}: {one} and {other} have different files called {file.name}, and exports name a file by its "
                "name",
                remedy="rename one, or give it another name with a link",
            )


def _found(key: str, folder: Path, written: Path) -> Iterator[Path]:
    """Yield the file, or the files that match a pattern in the order of their names; of a split model the first part
    only."""
    file = located(key, folder, written)
    if is_there(file) or not has_magic(str(written)):
        yield file
        return
    first = [each for each in sorted(file.parent.glob(file.name)) if not _FURTHER_PART.fullmatch(each.name)]
    if not first:
        raise ConfigError(f"{key}: no file matches {file}", remedy="write a path, or a pattern in the file's name")
    yield from first


def _check_different(key: str, files: Sequence[Path]) -> None:
    for one, other in combinations(files, 2):
        if one == other or (is_there(one) and is_there(other) and Path(one).samefile(other)):
            raise ConfigError(f"{key}: {one} and {other} are the same file", remedy="leave one of them out")
        if one.name == other.name:
            raise ConfigError(
                f"{key}: two files are called {one.name}, and settings name a file by its name", remedy="rename one"
            )

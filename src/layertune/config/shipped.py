"""The files that layertune is shipped with: configs, and JSON schemas."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_CLONE = _PACKAGE.parents[1]


def shipped_configs() -> Path:
    """Return the folder with `studies`, `hardware` and `scenarios`: the package's, or its clone's."""
    packaged = _PACKAGE / "configs"
    return packaged if packaged.is_dir() else _CLONE / "configs"

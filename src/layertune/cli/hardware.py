"""layertune hardware: the known hardware profiles."""

from layertune.cli.console import show, show_json, show_table
from layertune.study.profile_table import known_profiles, profile_table, profiles_json


def run(*, as_json: bool) -> None:
    profiles = known_profiles()
    if as_json:
        show_json(profiles_json(profiles))
    else:
        show_table(profile_table(profiles))
        show("", "A dash is not known. Sources: docs/hardware.md. This machine's profile: layertune profile.")

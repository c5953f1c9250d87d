"""`python -m layertune` is the command `layertune`."""

from layertune.cli.main import run

run()

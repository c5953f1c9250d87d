"""The command line: each command parses, opens a study, calls it and renders."""

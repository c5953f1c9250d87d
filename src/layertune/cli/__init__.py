"""The command line: parse, call, render. Everything is wired here by hand."""

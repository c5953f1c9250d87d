"""Mutated input through the functions that commands use: `__main__` is the command, `attack` says how to add a kind."""

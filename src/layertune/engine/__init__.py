"""llama.cpp in this process: its library and log, models and contexts, and the clock around them.

Importing this package loads no llama.cpp: `library.load()` does.
"""

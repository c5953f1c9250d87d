"""llama.cpp in this process: its library, log, models and contexts, and the timing of workloads.

Importing this package does not load llama.cpp; `library.load()` does.
"""

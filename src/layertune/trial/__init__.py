"""Trials, each isolated in a worker process."""

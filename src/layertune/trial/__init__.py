"""One trial, isolated in a worker process."""

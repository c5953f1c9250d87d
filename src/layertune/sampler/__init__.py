"""Which trial is next: a model of time, its posterior, the expected improvement and the stopping rule."""

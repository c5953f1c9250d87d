"""Is the exported stack what was measured, under load? Servers started or given, loaded, soaked, and judged."""

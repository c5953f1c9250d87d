"""vram."""

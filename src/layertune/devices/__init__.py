"""What layers are offloaded to: a local GPU, the emulated card, or nothing."""

"""The devices that layers are offloaded to (local GPUs or emulated cards), and the machine around them."""

"""The emulated card: a byte ledger with a hard cap, a compute lock, and one RPC server process per model.

Each server offers its CPU through llama.cpp's own RPC backend, with wrapped functions for buffers, memory queries and
graph computation. So every buffer of every server counts against one cap, and only one graph is computed at a time, as
on one GPU.

Each model needs its own server, because llama.cpp's RPC client keeps one graph per device without a lock. Two models
that generate on one server compute wrong logits.
"""

"""The emulated card: a byte ledger with a hard cap, a compute lock, and one RPC server process per model.

Each server offers its CPU through llama.cpp's own RPC backend. Its buffer type, memory query and graph computation are
wrapped, so that every buffer of every server counts against one cap and only one graph is computed at a time, as on one
GPU. One server per model because llama.cpp's RPC client keeps one graph per device without a lock: two models
generating on one server compute wrong logits.
"""

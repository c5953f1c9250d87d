#!/bin/sh
# layertune 0.1.0, llama.cpp 0.25.3 (0c1e570)
# study golden of 2026-11-23T01:02:03+00:00, trial 1
# measured on: emulated card, 6141.0 MiB; Test CPU
# EMULATED: speeds are of this CPU, not of a GPU; bytes are as llama.cpp allocates them
# chat: 45.2 ± 0.0 tokens/s alone, 22.6 ± 0.0 tokens/s with the others (64 prompt + 16 generated tokens)
# code: 26.6 ± 0.0 tokens/s alone, 13.3 ± 0.0 tokens/s with the others (64 prompt + 16 generated tokens)
# peak VRAM 572.0 MiB of a budget of 6141.0 MiB (by ledger, card)
#
# Arguments after `sh FILE` go to llama-server.
exec llama-server \
  --host 127.0.0.1 \
  --port 8004 \
  --alias code \
  --model /models/code.gguf \
  --fit off \
  --n-gpu-layers 20 \
  --ctx-size 1024 \
  --batch-size 256 \
  --ubatch-size 256 \
  --threads 4 \
  --threads-batch 4 \
  --parallel 1 \
  --flash-attn on \
  --cache-type-k f16 \
  --cache-type-v f16 \
  --cache-ram 5210 \
  --load-mode auto \
  "$@"

"""Search the demo pair: on this machine's GPU where llama.cpp sees one, else on the demo's emulated card."""

import os
import sys
from datetime import datetime
from pathlib import Path

from layertune.config import load_config
from layertune.devices.inspection import inspect

CONFIG = Path("configs/studies/demo.toml")


def main() -> None:
    gpus = inspect().gpus
    device = f"gpu:{gpus[0].index}" if gpus else load_config(CONFIG).device
    what = gpus[0].description if gpus else "no GPU that llama.cpp sees, so an emulated card"
    folder = Path("studies") / f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    print(f"demo: {what} (--device {device}), study folder {folder}", file=sys.stderr, flush=True)
    layertune = str(Path(sys.executable).with_name("layertune"))
    os.execv(layertune, [layertune, "search", str(CONFIG), "--device", device, "--study", str(folder), *sys.argv[1:]])


if __name__ == "__main__":
    main()

"""Write the network of a training that has not ended, so that another can start from it.

python tools/weights_so_far.py RUN

RUN is the --out of python -m srlib train, which may be running or stopped. RUN/model.safetensors
gets the weights of its last checkpoint, the averaged ones where it averages, and RUN/run.json says
after how many steps. The training goes on by the same command as before, as if nothing had been.
"""

import json
import sys
from pathlib import Path

from srlib._atomic import atomic_write
from srlib.models import create_model, read_record, save_network
from srlib.training.checkpoint import load_checkpoint


def main(run_folder: Path):
    """Write RUN/model.safetensors."""
    checkpoint = load_checkpoint(run_folder / "checkpoints")
    if checkpoint is None:
        sys.exit(f"{run_folder} holds no checkpoint")
    run = read_record(run_folder / "run.json")
    weights, prefix = checkpoint.state["model"], ""
    if "ema" in checkpoint.state:
        weights, prefix = checkpoint.state["ema"], "module."
    model = create_model(**run["network"])
    model.load_state_dict({name: weights[prefix + name] for name in model.state_dict()})
    save_network(run_folder / "model.safetensors", model, **run["network"])
    run |= {"steps": checkpoint.step, "train_seconds": round(checkpoint.state["seconds"], 1)}
    with atomic_write(run_folder / "run.json") as partial:
        partial.write_text(json.dumps(run, indent=2) + "\n")
    print(f"{run_folder / 'model.safetensors'}: step {checkpoint.step:,}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")

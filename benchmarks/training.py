"""What caching the frozen part, bfloat16 and kept memory are worth in training.

    python benchmarks/training.py FOLDER [--share 1.0]

Each row trains the same stage twice in one run: the plain way, where the frozen part runs in torch in
every epoch, and the cached way, where OpenVINO runs it once. The time includes everything: exporting
the frozen part, its features, the epochs with their validation. The cached way has a fixed cost, the export, so
few radiographs make it look worse than many. Weights are random: they do not change the time.
"""

import argparse
import os
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from hilum.imaging import read, squash
from hilum.networks.weights import build_network
from hilum.training import load_recipe
from hilum.training._memory import keep_freed_memory
from hilum.training.staged import Radiographs, train_stages
from hilum.training.workers import Workers

# Recipe, stage, what it trains, and radiographs: as many as the plain way trains in a few minutes.
STAGES = {
    "VGG16, feature extraction (001-vgg16)": ("001-vgg16", 0, "head", 96),
    "Inception V3, frozen (000-inception-v3)": ("000-inception-v3", 0, "head", 480),
    "EfficientNet-Lite0, last two blocks": ("two-stage", 1, "last-blocks:2", 768),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="radiographs, in any folders below it")
    parser.add_argument("--share", type=float, default=1.0, help="of each row's radiographs")
    asked = parser.parse_args()
    files = sorted(asked.folder.rglob("*.jp*g"))
    rng = np.random.default_rng(0)
    shuffled = [files[i] for i in rng.permutation(len(files))]
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    precision()  # first, because training in stages keeps freed memory from its start
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        for title, (*row, count) in STAGES.items():
            chosen = shuffled[: max(round(count * asked.share), 8)]
            frozen_part(title, *row, chosen, Path(scratch))


def frozen_part(
    title: str, name: str, stage: int, trains: str, files: list[Path], scratch: Path
) -> None:
    """Train one stage the plain and the cached way."""
    seconds = {}
    for way in ("plain", "cached"):
        recipe = load_recipe(name)
        recipe = recipe.changed(
            {
                "search": {},
                "stages": [
                    {
                        **recipe.stages[stage].model_dump(mode="json"),
                        "train": trains,
                        "frozen": way,
                        "views": 0,
                        "augment": False,
                        "stopping": None,
                    }
                ],
            }
        )
        network, _ = build_network(
            recipe.network.name, 2, size=recipe.network.size, head=recipe.network.head,
            weights="random",
        )  # fmt: skip
        pixels = np.stack([squash(read(f, min_side=network.size), network.size) for f in files])
        truth = np.arange(len(files)) % 2
        names = np.array([str(file) for file in files])
        part = Radiographs(pixels, truth, names.tolist(), names)
        count = len(files) // 4
        few = Radiographs(pixels[:count], truth[:count], names[:count].tolist(), names[:count])
        start = time.perf_counter()
        train_stages(
            network, recipe, part, few, scratch / f"{name}-{stage}-{way}", workers=Workers(),
            stage=lambda _: nullcontext(lambda _done, _total: None),
        )  # fmt: skip
        seconds[way] = time.perf_counter() - start
    epochs = recipe.stages[0].epochs
    print(
        f"{title}, {len(files)} radiographs, {epochs} epochs: plain {seconds['plain']:.1f} s, cached {seconds['cached']:.1f} s, "
        f"{seconds['plain'] / seconds['cached']:.1f} times",
        flush=True,
    )


def precision() -> None:
    """Train steps in both arithmetics, then with memory that is kept."""
    rows = [("efficientnet-lite0", 160, 32), ("efficientnet-lite0", 224, 32), ("vgg16", 128, 16)]
    for kept in (False, True):
        if kept:
            keep_freed_memory()
        for name, size, batch in rows:
            rates = [steps(name, size, batch, half) for half in (False, True)]
            print(
                f"{name} at {size}, {'freed memory kept' if kept else 'plain allocation'}: "
                f"float32 {rates[0]:.1f}, bfloat16 {rates[1]:.1f} radiographs/s",
                flush=True,
            )


def steps(name: str, size: int, batch: int, half: bool, repeats: int = 5) -> float:
    """Return radiographs per second of whole training steps (median)."""
    network, _ = build_network(name, 2, size=size, weights="random")
    network = network.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4)
    pixels, truth = torch.rand(batch, 1, size, size), torch.arange(batch) % 2
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scores = network(pixels)
        loss = torch.nn.functional.cross_entropy(scores.float(), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    return batch / float(np.median(seconds[1:]))


if __name__ == "__main__":
    main()

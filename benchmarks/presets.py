"""Every preset that has models: built, counted, trained for two steps and sampled, whatever its size.

    python benchmarks/presets.py [--out results/presets.md] [PRESET ...]

Networks have fresh weights and see made-up showers of their geometry (hits of exponential energies, 1-100 GeV): this shows
that a preset runs, how many parameters it trains, and what a step and a shower cost on this machine with untrained weights;
it says nothing of quality. Times are medians: of the steps after the first, per step of all objectives; of three batches of
100 showers, per shower. A training of the whole preset takes (epochs x training showers / batch size) steps. Networks of
more parameters than --largest (default 150 million) are only built and counted, and say so.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from calopipe.config.load import load_study, read_yaml
from calopipe.io.output import replacing
from calopipe.models.base import Autoencoder, Now, Refiner
from calopipe.models.latent_target import LatentTarget
from calopipe.origin import HOME, hardware
from calopipe.sampling.generator import Generator
from calopipe.training.checkpoint import Network, build_network
from calopipe.training.facts import DataFacts
from calopipe.workflow import Plan

PRESETS = HOME / "presets"
ROWS, STEPS, SHOWERS = 256, 3, 100


@dataclass
class Row:
    """One model of a preset."""

    preset: str
    model: str
    parameters: int
    step_ms: float | None
    shower_ms: float | None
    epochs: str
    batch: str


def made_up(data: DataFacts, n: int) -> tuple[Tensor, Tensor]:
    """Showers (n, V) in MeV, a tenth of the voxels hit, and incident energies (n, 1); or columns, and as many conditions as they have."""
    generator = torch.Generator().manual_seed(0)
    cond = 1e3 * (1 + 99 * torch.rand(n, 1, generator=generator))
    layout = data.layout
    if data.columns:  # numbers of showers, as good as any between 0 and 1
        return torch.rand(n, len(data.columns), generator=generator), cond.expand(n, len(data.conditions)).contiguous()
    x = torch.empty(n, layout.n_voxels).exponential_(generator=generator)
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.1, x, torch.zeros_like(x))
    x[:, 0] += 1
    return layout.cut(0.8 * cond * x / x.sum(1, keepdim=True)), cond


def data_of(preset: str, model: str, plan: Plan) -> str:
    """The dataset that a model of a preset is for, by its name; the bundled one where it names none."""
    content = read_yaml(PRESETS / f"{preset}.yaml")
    runs = content.get("runs") or ()
    own = [run["dataset"] for run in runs if run["model"] == model] or [run["dataset"] for run in runs]
    if own:
        return own[0]
    own = list(content.get("datasets") or {})
    if len(own) == 1:
        return own[0]
    ends = {
        "photons": "calochallenge1_photons",
        "pions": "calochallenge1_pions",
        "set2": "calochallenge2",
        "set3": "calochallenge3",
    }
    found = next((name for end, name in ends.items() if end in model and name in plan.study.datasets), None)
    return found or "bundled"


def plans(names: list[str]) -> Iterator[tuple[str, Plan, list[str]]]:
    """The study of each preset that has models of networks, and these."""
    bundled = {
        "source": {"kind": "bundled", "name": "calogan_eplus_sample"},
        "geometry": "calogan",
        "threshold_MeV": 0.01,
    }
    flow = {"learns": "showers", "model": {"name": "inn"}, "training": {"epochs": 1}}
    for name in names:
        study = {
            "presets": [name],
            "datasets": {"bundled": bundled},
            "models": {"placeholder": {"networks": {"flow": flow}}},
        }
        plan = Plan(load_study({**study, "runs": [{"dataset": "bundled", "model": "placeholder"}]}, PRESETS))
        own = read_yaml(PRESETS / f"{name}.yaml").get("models") or {}
        models = [m for m in own if plan.external(m) is None]
        if models:
            yield name, plan, models


def built(plan: Plan, model: str, dataset: str, n_train: int) -> dict[str, Network]:
    """All networks of a model with fresh weights, in order."""
    settings, networks = plan.model(model), {}
    where = plan.where(dataset)
    if where["geometry"] is None:
        data = DataFacts.of_columns(where["columns"], plan.conditions(dataset))
    else:
        data = DataFacts.of(plan.geometry(dataset), where["threshold_MeV"], plan.conditions(dataset))
    for link in settings.chain.links:
        stage, latent = settings.networks[link.name], None
        dim = len(data.columns) or data.layout.n_voxels
        if link.learns == "layer_energies":
            dim = len(data.layout.layer_sizes)
        elif link.learns_latents:
            before = networks[link.learns]
            assert isinstance(before.model, Autoencoder)
            latent = before.model.latent_dim
            extras = before.chain.cond_dim_out - before.chain.cond_dim
            dim = LatentTarget(stage.network.latents or "mu_sigma", latent).columns(extras)
        networks[link.name] = build_network(
            link, stage.network, data, dim=dim, seed=0, n_train=n_train, latent_dim=latent
        )
    return networks


def parameters(networks: dict[str, Network]) -> int:
    """Trained numbers of networks and of their preprocessing."""
    return sum(p.numel() for network in networks.values() for part in network.parts.values() for p in part.parameters())


def trained(plan: Plan, model: str, dataset: str) -> tuple[float, float]:
    """Milliseconds per training step of all networks together, and per shower sampled."""
    torch.manual_seed(0)
    networks = built(plan, model, dataset, ROWS)
    data = next(iter(networks.values())).data
    showers, cond = made_up(data, ROWS)
    energies = showers[:, :0] if data.columns else data.layout.energies(showers)
    learned: dict[str, Tensor] = {"showers": showers, "layer_energies": energies, "columns": showers}
    total = 0.0
    for name, network in networks.items():
        raw = torch.cat([cond, energies], dim=1) if network.link.gets_energies else cond
        total += steps(network, learned[network.link.learns], raw, learned)
        if isinstance(network.model, Autoencoder):
            with torch.no_grad():
                x, c, _ = network.chain(showers, raw)
                learned[name] = torch.cat([*network.model.eval().encode(x, c), c[:, raw.shape[1] :]], dim=1)
        network.eval()
    generator = Generator(networks, plan.model(model).chain, torch.device("cpu"))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        generator.sample(cond[:SHOWERS].numpy(), batch_size=SHOWERS)
        times.append(time.perf_counter() - start)
    return 1e3 * total, 1e3 * statistics.median(times) / SHOWERS


def steps(network: Network, x: Tensor, raw: Tensor, learned: dict[str, Tensor]) -> float:
    """Fit what has to be fitted, make STEPS steps of every objective; median seconds of those after the first."""
    model, batch = network.model, network.settings.training
    if network.latent_dim is not None:
        d = network.latent_dim
        mode = network.settings.latents or "mu_sigma"
        x = LatentTarget(mode, d).assemble(x[:, :d], x[:, d : 2 * d], x[:, 2 * d :])
    if isinstance(model, Refiner):
        x = torch.cat([x, learned["showers"]], dim=1)
    network.chain.fit(x[:, : network.dim], raw)
    y, cond, _ = network.prepared(x, raw)
    with torch.no_grad():
        model.fit_input(y.detach(), cond.detach())
    size = ROWS if batch is None else min(batch.batch_size, ROWS)
    optimizers = {name: torch.optim.Adam(o.parameters, 1e-5) for name, o in model.objectives().items()}
    times = []
    for step in range(STEPS):
        start = time.perf_counter()
        for name, optimizer in optimizers.items():
            optimizer.zero_grad(set_to_none=True)
            y, cond, logdet = network.prepared(x[:size], raw[:size])
            found = model.step(name, y, cond, Now(0, 1, step, STEPS, ROWS))
            loss = found["loss"] - (logdet.mean() if model.likelihood else 0)
            if not torch.isfinite(loss):
                raise SystemExit(f"{network.link.name}: the loss of objective {name} is {loss.item()}")
            loss.backward()
            optimizer.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def measure(preset: str, plan: Plan, model: str, largest: int) -> Row:
    """Build, count, train and sample one model."""
    dataset = data_of(preset, model, plan)
    count = parameters(built(plan, model, dataset, ROWS))
    step = shower = None
    if count <= largest:
        step, shower = trained(plan, model, dataset)
    stages = plan.model(model).networks.values()
    epochs, batch = (", ".join(str(getattr(s.training, key)) for s in stages) for key in ("epochs", "batch_size"))
    return Row(preset, model, count, step, shower, epochs, batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", help="names (default: all)")
    parser.add_argument("--out", type=Path, help="Markdown table to write, too")
    parser.add_argument(
        "--largest", type=int, default=150_000_000, help="parameters of the largest network that is trained"
    )
    options = parser.parse_args()
    logging.getLogger("lightning").setLevel(logging.WARNING)
    machine = hardware()
    lines = [f"{machine['cpu']}, {torch.get_num_threads()} threads", "",
             "| preset | model | parameters | epochs | batch | ms per step | ms per shower |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    print("\n".join(lines), flush=True)
    for name, plan, models in plans(options.presets or sorted(p.stem for p in PRESETS.glob("*.yaml"))):
        for model in models:
            row = measure(name, plan, model, options.largest)
            times = ["counted only"] * 2 if row.step_ms is None else [f"{row.step_ms:.3g}", f"{row.shower_ms:.3g}"]
            parts = [
                f"`{row.preset}`",
                f"`{row.model}`",
                f"{row.parameters:,}".replace(",", " "),
                row.epochs,
                row.batch,
                *times,
            ]
            lines.append(f"| {' | '.join(parts)} |")
            print(lines[-1], flush=True)
    if options.out is not None:
        with replacing(options.out) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

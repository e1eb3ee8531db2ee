"""Cut, scale and split the fetched showers."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.io.prepare import prepare
    from calopipe.records.files import write_json
    from calopipe.sources import read_manifest

    settings = snakemake.params.settings
    reference = snakemake.input.get("reference")
    split = settings["split"]
    summary = prepare(
        read_manifest(Path(snakemake.input.source)),
        {name: Path(snakemake.output[name]) for name in ("train", "val", "test")},
        settings["geometry"],
        threshold_MeV=settings["threshold_MeV"],
        fractions=[split[name] for name in ("train", "val", "test")],
        seed=split["seed"],
        energy_scale=settings["energy_scale"],
        max_showers=settings["max_showers"],
        crop=settings["crop"],
        sum_layers=settings["sum_layers"],
        pool=settings["pool"],
        pool_by=settings["pool_by"],
        reference_paths=read_manifest(Path(reference)) if reference else (),
    )
    write_json(Path(snakemake.output.summary), summary)

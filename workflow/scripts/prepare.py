"""Cut, scale and split the fetched showers; split the rows of other data."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.io.prepare import prepare
    from calopipe.io.prepare_columns import prepare_columns
    from calopipe.records.files import write_json
    from calopipe.sources import read_manifest

    settings = dict(snakemake.params.settings)
    reference, split = snakemake.input.get("reference"), settings.pop("split")
    summary = {"showers": prepare, "columns": prepare_columns}[settings.pop("kind")](
        read_manifest(Path(snakemake.input.source)),
        {name: Path(snakemake.output[name]) for name in ("train", "val", "test")},
        fractions=[split[name] for name in ("train", "val", "test")],
        seed=split["seed"],
        reference_paths=read_manifest(Path(reference)) if reference else (),
        **{key: value for key, value in settings.items() if key not in ("geometry_digest", "sources")},
    )
    write_json(Path(snakemake.output.summary), summary)

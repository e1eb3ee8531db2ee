"""Generate showers for the conditions of the test showers."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import Generation
    from calopipe.sampling import generate

    scores = snakemake.input.get("scores")
    generate(
        [Path(path) for path in snakemake.input.networks],
        Path(snakemake.input.energies),
        Path(snakemake.output.showers),
        Generation(**snakemake.params.settings),
        int(snakemake.wildcards.seed),
        Path(scores) if scores else None,
    )

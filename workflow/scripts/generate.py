"""Generate showers for the conditions of the test showers."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import Generation
    from calopipe.sampling import generate

    settings = dict(snakemake.params.settings)
    mix = settings.pop("mix", 1)
    generate(
        [Path(path) for path in snakemake.input.networks],
        Path(snakemake.input.energies),
        Path(snakemake.output.showers),
        Generation(**settings),
        int(snakemake.wildcards.seed),
        [Path(path) for path in snakemake.input.get("scores", [])],
        trainings=mix,
    )

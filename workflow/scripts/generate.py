"""Generate showers for the incident energies of the test showers."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.config import Generation
    from calopipe.sampling import generate

    autoencoder, scores = (snakemake.input.get(name) for name in ("autoencoder", "scores"))
    generate(
        Path(snakemake.input.flow),
        Path(autoencoder) if autoencoder else None,
        Path(snakemake.input.energies),
        Path(snakemake.output.showers),
        Generation(**snakemake.params.settings),
        int(snakemake.wildcards.seed),
        Path(scores) if scores else None,
    )

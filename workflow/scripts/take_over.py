"""Take over the showers of a generator that is not trained here."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.sampling.external import chosen_file, take_over

    settings, scores = snakemake.params.settings, snakemake.input.get("scores", [])
    files, source = [Path(path) for path in snakemake.input.raw], "external sample"
    if settings["epoch"] != "final":
        epochs = {int(number): Path(path) for number, path in snakemake.params.epochs.items()}
        chosen, source = chosen_file(epochs, settings["epoch"], Path(scores[0]) if scores else None)
        files = [chosen]
    take_over(
        files,
        Path(snakemake.output.showers),
        settings["geometry"],
        settings["threshold_MeV"],
        settings["conditions"],
        source=source,
    )

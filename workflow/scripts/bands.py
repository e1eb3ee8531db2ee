"""Compare the bands of Bayesian networks with those of ensembles."""

from pathlib import Path

from calopipe.scripting import stage

with stage(snakemake):
    from calopipe.evaluation.bands import Run, evaluate_bands

    settings = snakemake.params.settings
    bayesian = zip((Run(*run) for run in settings["bayesian"]), map(Path, snakemake.input.bayesian), strict=True)
    paths = iter(snakemake.input.ensembles)
    ensembles = {model: [Path(next(paths)) for _ in seeds] for model, seeds in settings["ensembles"].items()}
    evaluate_bands(dict(bayesian), ensembles, seed=settings["seed"], out=Path(snakemake.output[0]))

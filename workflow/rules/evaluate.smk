# Judgements of the samples: classifier tests and what they reveal, histograms of observables, metrics, energy
# regression, scores by epoch, amplification, generation time.


rule power:
    # What a classifier finds in Geant4 showers of which a little is wrong: once for all runs of an evaluation.
    input:
        reference=at("reference"),
        others=at("prepared", split="train"),
        raw=raw("power"),
    output:
        at("power"),
    log:
        f"{RESULTS}/logs/{{dataset}}/power/{{evaluation}}/{{classifier}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/power/{{evaluation}}/{{classifier}}.tsv"
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("power"),
        cpus_per_task=growing(4),
        mem_mb=growing(16000),
        runtime=growing(240),
    params:
        settings=settings("power"),
        code=code("power"),
    script:
        "../scripts/power.py"


rule classify:
    input:
        unpack(power),
        reference=at("reference"),
        sample=at("generated"),
        raw=raw("classify"),
    output:
        scores=at("classifier"),
        curves=at("classifier_curves"),
    log:
        f"{LOGS}/classify_{{classifier}}.log",
    benchmark:
        f"{TIMES}/classify_{{classifier}}.tsv"
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("classify"),
        cpus_per_task=growing(4),
        mem_mb=growing(16000),
        runtime=growing(240),
    params:
        settings=settings("classify"),
        code=code("classify"),
    script:
        "../scripts/classify.py"


use rule classify as classify_reconstructed with:
    input:
        unpack(power),
        reference=at("reference"),
        sample=at("reconstructed"),
        raw=raw("classify_reconstructed"),
    output:
        scores=at("classifier_reconstructed"),
        curves=at("classifier_reconstructed_curves"),
    log:
        f"{LOGS}/classify_reconstructed_{{classifier}}.log",
    benchmark:
        f"{TIMES}/classify_reconstructed_{{classifier}}.tsv"


use rule classify as classify_unrefined with:
    input:
        unpack(power),
        reference=at("reference"),
        sample=at("unrefined"),
        raw=raw("classify_unrefined"),
    output:
        scores=at("classifier_unrefined"),
        curves=at("classifier_unrefined_curves"),
    log:
        f"{LOGS}/classify_unrefined_{{classifier}}.log",
    benchmark:
        f"{TIMES}/classify_unrefined_{{classifier}}.tsv"


rule weights:
    # Observables of the showers that a classifier recognises best; drawing them anew trains nothing.
    input:
        curves=at("classifier_curves"),
        histograms=at("histograms"),
        sample=at("generated"),
        raw=raw("weights"),
    output:
        histograms=at("weights"),
    log:
        f"{LOGS}/weights_{{classifier}}.log",
    benchmark:
        f"{TIMES}/weights_{{classifier}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        settings=settings("weights"),
        code=code("weights"),
    script:
        "../scripts/weights.py"


rule compare:
    # One classifier for all runs of a dataset (those of one evaluation) and Geant4.
    input:
        reference=at("reference"),
        samples=compared,
        raw=raw("compare"),
    output:
        scores=at("comparison"),
        confusion=at("confusion"),
    log:
        f"{RESULTS}/logs/compare/{{dataset}}/{{evaluation}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare/{{dataset}}/{{evaluation}}.tsv"
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("compare"),
        cpus_per_task=growing(4),
        mem_mb=growing(16000),
        runtime=growing(240),
    params:
        settings=settings("compare"),
        code=code("compare"),
    script:
        "../scripts/compare.py"


rule bands:
    # Bands of Bayesian networks (draws of their weights) beside those of ensembles (seeds) in the same histograms.
    input:
        bayesian=bayesian,
        ensembles=ensembles,
        raw=raw("bands"),
    output:
        at("bands"),
    log:
        f"{RESULTS}/logs/compare/{{dataset}}/bands/{{evaluation}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare/{{dataset}}/bands/{{evaluation}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        settings=settings("bands"),
        code=code("bands"),
    script:
        "../scripts/bands.py"


rule judge_columns:
    input:
        reference=at("reference"),
        others=at("prepared", split="train"),
        sample=at("generated"),
        raw=raw("judge_columns"),
    output:
        histograms=at("histograms"),
        scores=at("metrics"),
    log:
        f"{LOGS}/judge_columns.log",
    benchmark:
        f"{TIMES}/judge_columns.tsv"
    # Data that are no showers: histograms and scores of columns, in one stage.
    wildcard_constraints:
        dataset=PLAN.pattern("columns"),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        settings=settings("judge_columns"),
        code=code("judge_columns"),
    script:
        "../scripts/judge_columns.py"


rule observables:
    input:
        unpack(samples),
        reference=at("reference"),
        raw=raw("observables"),
    output:
        histograms=at("histograms"),
    log:
        f"{LOGS}/observables.log",
    benchmark:
        f"{TIMES}/observables.tsv"
    wildcard_constraints:
        dataset=PLAN.pattern("showers"),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        settings=settings("observables"),
        code=code("observables"),
    script:
        "../scripts/observables.py"


rule health:
    # What is unusual about the samples, which the report says before any score.
    input:
        unpack(samples),
        reference=at("reference"),
        training=[at("prepared", split="train"), at("prepared", split="val")],
        raw=raw("health"),
    output:
        at("health"),
    log:
        f"{LOGS}/health.log",
    benchmark:
        f"{TIMES}/health.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        settings=settings("health"),
        code=code("health"),
    script:
        "../scripts/health.py"


rule metrics:
    input:
        unpack(samples),
        reference=at("reference"),
        histograms=at("histograms"),
        raw=raw("metrics"),
    output:
        scores=at("metrics"),
    log:
        f"{LOGS}/metrics.log",
    benchmark:
        f"{TIMES}/metrics.tsv"
    wildcard_constraints:
        dataset=PLAN.pattern("showers"),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        settings=settings("metrics"),
        code=code("metrics"),
    script:
        "../scripts/metrics.py"


rule regression:
    input:
        unpack(samples),
        reference=at("reference"),
        checkpoint=lambda wildcards: PLAN.regressor_file(**wildcards),
        raw=raw("regression"),
    output:
        scores=at("regression"),
        curves=at("regression_curves"),
    log:
        f"{LOGS}/regression_{{regressor}}.log",
    benchmark:
        f"{TIMES}/regression_{{regressor}}.tsv"
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("regression"),
        cpus_per_task=growing(4),
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        settings=settings("regression"),
        code=code("regression"),
    script:
        "../scripts/regression.py"


rule epochs:
    input:
        unpack(kept),
        unpack(scored_with),
        raw=raw("epochs"),
    output:
        scores=at("epochs"),
        histograms=at("epoch_histograms"),
    log:
        f"{LOGS}/epochs.log",
    benchmark:
        f"{TIMES}/epochs.tsv"
    # Never by test showers, so that a choice of the epoch does not flatter their scores.
    wildcard_constraints:
        seed=Training.PATTERN,
        model=PLAN.pattern("generators"),
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("epochs"),
        cpus_per_task=growing(4),
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        settings=settings("epochs"),
        code=code("epochs"),
        samples={},
    script:
        "../scripts/epochs.py"


use rule epochs as epochs_of_files with:
    input:
        unpack(regressors),
        unpack(scored_with),
        raw=raw("epochs_of_files"),
    wildcard_constraints:
        model=PLAN.pattern("externals"),
    params:
        settings=settings("epochs_of_files"),
        code=code("epochs_of_files"),
        samples=lambda wildcards: PLAN.external_epochs(wildcards.model),


rule calomplification:
    # How many Geant4 showers the generated ones of all seeds are worth: only where the evaluation asks for it.
    input:
        train=at("prepared", split="train"),
        test=at("reference"),
        generated=amplified,
        raw=raw("calomplification"),
    output:
        scores=at("calomplification"),
        curves=at("divergences"),
    log:
        f"{RESULTS}/logs/{{dataset}}/{{model}}/calomplification.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{{model}}/calomplification.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        settings=settings("calomplification"),
        code=code("calomplification"),
    script:
        "../scripts/calomplification.py"


rule latent_space:
    # Latents of an autoencoder beside its prior, and the noise that flows make of data.
    input:
        networks=checkpoints,
        showers=at("reference"),
        raw=raw("latent_space"),
    output:
        space=at("latent_space"),
    log:
        f"{LOGS}/latent_space.log",
    benchmark:
        f"{TIMES}/latent_space.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        settings=settings("latent_space"),
        code=code("latent_space"),
    script:
        "../scripts/latent_space.py"


rule weight_spread:
    # Variances of the weights of Bayesian networks, at kept epochs and at the end.
    input:
        networks=checkpoints,
        kept=kept_of_all,
        raw=raw("weight_spread"),
    output:
        spread=at("weight_spread"),
    log:
        f"{LOGS}/weight_spread.log",
    benchmark:
        f"{TIMES}/weight_spread.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        settings=settings("weight_spread"),
        code=code("weight_spread"),
    script:
        "../scripts/weight_spread.py"


rule timing:
    # Takes as many threads as other heavy stages do, so that nothing runs beside it on a small machine.
    input:
        networks=checkpoints,
        energies=at("reference"),
        raw=raw("timing"),
    output:
        times=at("timing"),
    log:
        f"{LOGS}/timing.log",
    benchmark:
        f"{TIMES}/timing.tsv"
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("timing"),
        cpus_per_task=growing(4),
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        settings=settings("timing"),
        code=code("timing"),
    script:
        "../scripts/timing.py"

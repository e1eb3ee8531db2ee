# Samples from trained networks: generated showers, also before refinement where there is a refiner, and reconstructions
# where there is an autoencoder.


rule generate:
    input:
        unpack(scored),
        networks=sampled,
        energies=at("reference"),
        raw=raw("generate"),
    output:
        showers=at("generated"),
    log:
        f"{LOGS}/generate.log",
    benchmark:
        f"{TIMES}/generate.tsv"
    wildcard_constraints:
        model=PLAN.pattern("generators"),
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("generate"),
        cpus_per_task=growing(4),
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        settings=settings("generate"),
        code=code("generate"),
    script:
        "../scripts/generate.py"


use rule generate as generate_unrefined with:
    input:
        networks=unrefined,
        energies=at("reference"),
        raw=raw("generate_unrefined"),
    output:
        showers=at("unrefined"),
    log:
        f"{LOGS}/generate_unrefined.log",
    benchmark:
        f"{TIMES}/generate_unrefined.tsv"
    resources:
        gpu=gpus("generate_unrefined"),
        cpus_per_task=growing(4),
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        settings=settings("generate_unrefined"),
        code=code("generate_unrefined"),


rule take_over:
    input:
        unpack(scored),
        raw=raw("take_over"),
    output:
        showers=at("generated"),
    log:
        f"{LOGS}/take_over.log",
    benchmark:
        f"{TIMES}/take_over.tsv"
    # The sample of a generator that is not trained here.
    wildcard_constraints:
        model=PLAN.pattern("externals"),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=settings("take_over"),
        code=code("take_over"),
        epochs=lambda wildcards: PLAN.external_epochs(wildcards.model),
    script:
        "../scripts/take_over.py"


rule reconstruct:
    input:
        autoencoder=autoencoder,
        showers=at("reference"),
        raw=raw("reconstruct"),
    output:
        showers=at("reconstructed"),
    log:
        f"{LOGS}/reconstruct.log",
    benchmark:
        f"{TIMES}/reconstruct.tsv"
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("reconstruct"),
        cpus_per_task=growing(4),
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        settings=settings("reconstruct"),
        code=code("reconstruct"),
    script:
        "../scripts/reconstruct.py"

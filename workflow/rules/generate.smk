# Samples from trained networks: generated showers, and for latent models the autoencoder's reconstructions.


rule generate:
    input:
        unpack(sampled),
        energies=f"{DATA}/test.hdf5",
        raw=raw("generate"),
    output:
        showers=f"{RUN}/generated.hdf5",
    log:
        f"{LOGS}/generate.log",
    benchmark:
        f"{TIMES}/generate.tsv"
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


rule reconstruct:
    input:
        autoencoder=f"{RUN}/autoencoder/model.pt",
        showers=f"{DATA}/test.hdf5",
        raw=raw("reconstruct"),
    output:
        showers=f"{RUN}/reconstructed.hdf5",
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

# Networks. A training that was interrupted goes on from its rolling checkpoint when it is run again.


rule train:
    # One network of a run's chain: of showers, of their layer energies, of the latents of an autoencoder, or a refiner.
    input:
        unpack(learned),
        raw=raw("train"),
    output:
        checkpoint=at("checkpoint"),
        history=at("history"),
        epochs=directory(at("kept")),  # empty unless training.keep_every is set
    log:
        f"{LOGS}/train_{{network}}.log",
    benchmark:
        f"{TIMES}/train_{{network}}.tsv"
    wildcard_constraints:
        seed=Training.PATTERN,
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("train"),
        cpus_per_task=growing(4),
        mem_mb=growing(16000),
        runtime=growing(1440),
    params:
        settings=settings("train"),
        code=code("train"),
        rolling=lambda wildcards: PLAN.rolling(**wildcards),
    script:
        "../scripts/train.py"


rule encode:
    input:
        checkpoint=at("checkpoint"),
        showers=at("prepared"),
        raw=raw("encode"),
    output:
        latents=at("latents"),
    log:
        f"{LOGS}/encode_{{network}}_{{split}}.log",
    benchmark:
        f"{TIMES}/encode_{{network}}_{{split}}.tsv"
    wildcard_constraints:
        seed=Training.PATTERN,
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        settings=settings("encode"),
        code=code("encode"),
    script:
        "../scripts/encode.py"


rule remake:
    # Showers as the chain up to a network makes them, for a refiner to learn from.
    input:
        networks=upto,
        showers=at("prepared"),
        raw=raw("remake"),
    output:
        showers=at("remade"),
    log:
        f"{LOGS}/remake_{{network}}_{{split}}.log",
    benchmark:
        f"{TIMES}/remake_{{network}}_{{split}}.tsv"
    wildcard_constraints:
        seed=Training.PATTERN,
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        settings=settings("remake"),
        code=code("remake"),
    script:
        "../scripts/remake.py"


rule train_regressor:
    # One per dataset: all its generators are judged by the same network, and those of others that name it.
    input:
        train=at("prepared", split="train"),
        val=at("prepared", split="val"),
        raw=raw("train_regressor"),
    output:
        checkpoint=at("regressor"),
        history=at("regressor_history"),
    log:
        f"{RESULTS}/logs/{{dataset}}/train_regressor_{{regressor}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/train_regressor_{{regressor}}.tsv"
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("train_regressor"),
        cpus_per_task=growing(4),
        mem_mb=growing(16000),
        runtime=growing(1440),
    params:
        settings=settings("train_regressor"),
        code=code("train_regressor"),
        rolling=lambda wildcards: PLAN.regressor_rolling(**wildcards),
    script:
        "../scripts/train_regressor.py"

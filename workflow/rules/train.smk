# Networks. A training that was interrupted goes on from its rolling checkpoint when it is run again.


rule train_autoencoder:
    input:
        train=f"{DATA}/train.hdf5",
        val=f"{DATA}/val.hdf5",
        raw=raw("train_autoencoder"),
    output:
        checkpoint=f"{RUN}/autoencoder/model.pt",
        history=f"{RUN}/autoencoder/history.csv",
    log:
        f"{LOGS}/train_autoencoder.log",
    benchmark:
        f"{TIMES}/train_autoencoder.tsv"
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("train_autoencoder"),
        cpus_per_task=growing(4),
        mem_mb=growing(16000),
        runtime=growing(1440),
    params:
        settings=settings("train_autoencoder"),
        code=code("train_autoencoder"),
        rolling=lambda wildcards: PLAN.rolling("autoencoder", **wildcards),
    script:
        "../scripts/train_autoencoder.py"


rule encode:
    input:
        checkpoint=f"{RUN}/autoencoder/model.pt",
        showers=f"{DATA}/{{split}}.hdf5",
        raw=raw("encode"),
    output:
        latents=f"{RUN}/latents/{{split}}.hdf5",
    log:
        f"{LOGS}/encode_{{split}}.log",
    benchmark:
        f"{TIMES}/encode_{{split}}.tsv"
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


rule train_flow:
    # On the showers themselves, or on the latents of the run's autoencoder.
    input:
        train=training_data("train"),
        val=training_data("val"),
        raw=raw("train_flow"),
    output:
        checkpoint=f"{RUN}/flow/model.pt",
        history=f"{RUN}/flow/history.csv",
        epochs=directory(f"{RUN}/flow/epochs"),  # empty unless training.keep_every is set
    log:
        f"{LOGS}/train_flow.log",
    benchmark:
        f"{TIMES}/train_flow.tsv"
    conda:
        ENVIRONMENT
    threads: growing(4)
    resources:
        gpu=gpus("train_flow"),
        cpus_per_task=growing(4),
        mem_mb=growing(16000),
        runtime=growing(1440),
    params:
        settings=settings("train_flow"),
        code=code("train_flow"),
        rolling=lambda wildcards: PLAN.rolling("flow", **wildcards),
    script:
        "../scripts/train_flow.py"


rule train_regressor:
    # One per dataset: all its generators are judged by the same network.
    input:
        train=f"{DATA}/train.hdf5",
        val=f"{DATA}/val.hdf5",
        raw=raw("train_regressor"),
    output:
        checkpoint=f"{DATA}/regressors/{{regressor}}/model.pt",
        history=f"{DATA}/regressors/{{regressor}}/history.csv",
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
        rolling=lambda wildcards: PLAN.rolling("regressor", **wildcards),
    script:
        "../scripts/train_regressor.py"

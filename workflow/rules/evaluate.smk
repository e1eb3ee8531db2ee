# Judgements of the samples: classifier tests and what they reveal, histograms of observables, metrics, energy
# regression, scores by epoch, amplification, generation time.


rule power:
    # What a classifier finds in Geant4 showers of which a little is wrong: once for all runs of an evaluation.
    input:
        reference=f"{DATA}/test.hdf5",
        others=f"{DATA}/train.hdf5",
        raw=raw("power"),
    output:
        f"{POWER}.json",
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
        reference=f"{DATA}/test.hdf5",
        sample=f"{RUN}/generated.hdf5",
        raw=raw("classify"),
    output:
        scores=f"{RUN}/classifiers/{{classifier}}.json",
        curves=f"{RUN}/classifiers/{{classifier}}.npz",
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
        reference=f"{DATA}/test.hdf5",
        sample=f"{RUN}/reconstructed.hdf5",
        raw=raw("classify_reconstructed"),
    output:
        scores=f"{RUN}/classifiers/reconstructed/{{classifier}}.json",
        curves=f"{RUN}/classifiers/reconstructed/{{classifier}}.npz",
    log:
        f"{LOGS}/classify_reconstructed_{{classifier}}.log",
    benchmark:
        f"{TIMES}/classify_reconstructed_{{classifier}}.tsv"


rule weights:
    # Observables of the showers that a classifier recognises best; drawing them anew trains nothing.
    input:
        curves=f"{RUN}/classifiers/{{classifier}}.npz",
        histograms=f"{RUN}/histograms.npz",
        sample=f"{RUN}/generated.hdf5",
        raw=raw("weights"),
    output:
        histograms=f"{RUN}/weights/{{classifier}}.npz",
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
        reference=f"{DATA}/test.hdf5",
        samples=compared,
        raw=raw("compare"),
    output:
        scores=f"{RESULTS}/{COMPARE}.json",
        confusion=f"{RESULTS}/{COMPARE}.npz",
    log:
        f"{RESULTS}/logs/{COMPARE}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{COMPARE}.tsv"
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


rule observables:
    input:
        unpack(samples),
        reference=f"{DATA}/test.hdf5",
        raw=raw("observables"),
    output:
        histograms=f"{RUN}/histograms.npz",
    log:
        f"{LOGS}/observables.log",
    benchmark:
        f"{TIMES}/observables.tsv"
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
        reference=f"{DATA}/test.hdf5",
        training=expand(f"{DATA}/{{split}}.hdf5", split=["train", "val"], allow_missing=True),
        raw=raw("health"),
    output:
        f"{RUN}/health.json",
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
        reference=f"{DATA}/test.hdf5",
        histograms=f"{RUN}/histograms.npz",
        raw=raw("metrics"),
    output:
        scores=f"{RUN}/metrics.json",
    log:
        f"{LOGS}/metrics.log",
    benchmark:
        f"{TIMES}/metrics.tsv"
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
        reference=f"{DATA}/test.hdf5",
        checkpoint=f"{DATA}/regressors/{{regressor}}/model.pt",
        raw=raw("regression"),
    output:
        scores=f"{RUN}/regression/{{regressor}}.json",
        curves=f"{RUN}/regression/{{regressor}}.npz",
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
    # By validation showers, so that a choice of the epoch does not flatter the scores of the test showers.
    input:
        unpack(kept_epochs),
        epochs=f"{RUN}/flow/epochs",
        reference=f"{DATA}/val.hdf5",
        raw=raw("epochs"),
    output:
        scores=f"{RUN}/scores_by_epoch.json",
    log:
        f"{LOGS}/epochs.log",
    benchmark:
        f"{TIMES}/epochs.tsv"
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
    script:
        "../scripts/epochs.py"


rule calomplification:
    # How many Geant4 showers the generated ones of all seeds are worth: only where the evaluation asks for it.
    input:
        train=f"{DATA}/train.hdf5",
        test=f"{DATA}/test.hdf5",
        generated=amplified,
        raw=raw("calomplification"),
    output:
        scores=f"{MODEL}/calomplification.json",
        curves=f"{MODEL}/calomplification.npz",
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


rule timing:
    # Takes as many threads as other heavy stages do, so that nothing runs beside it on a small machine.
    input:
        unpack(networks),
        energies=f"{DATA}/test.hdf5",
        raw=raw("timing"),
    output:
        times=f"{RUN}/timing.json",
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

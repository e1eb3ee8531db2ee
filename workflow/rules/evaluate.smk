# Judgements of the samples: classifier tests and what they reveal, histograms of observables, metrics, generation time.


rule classify:
    input:
        reference=f"{DATA}/test.hdf5",
        sample=f"{RUN}/generated.hdf5",
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


rule weights:
    # Observables of the showers that a classifier recognises best; drawing them anew trains nothing.
    input:
        curves=f"{RUN}/classifiers/{{classifier}}.npz",
        histograms=f"{RUN}/histograms.npz",
        sample=f"{RUN}/generated.hdf5",
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


rule metrics:
    input:
        unpack(samples),
        reference=f"{DATA}/test.hdf5",
        histograms=f"{RUN}/histograms.npz",
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


rule timing:
    # Takes as many threads as other heavy stages do, so that nothing runs beside it on a small machine.
    input:
        unpack(networks),
        energies=f"{DATA}/test.hdf5",
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

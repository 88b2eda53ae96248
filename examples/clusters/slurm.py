"""Trains 64 networks on workers that Slurm starts, and saves an ensemble of the best: `python slurm.py --help`."""

import argparse
from functools import partial

import numpy as np
from distributed import Client, LocalCluster
from sklearn.datasets import load_digits

import engine as keras


def network(units: int, rate: float) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=4, help="jobs of Slurm, one worker each (default 4)")
    parser.add_argument("--cores", type=int, default=8, help="of a job (default 8)")
    parser.add_argument("--memory", default="8GB", help="of a job (default 8GB)")
    parser.add_argument("--walltime", default="00:30:00", help="of a job (default 00:30:00)")
    parser.add_argument("--partition", help="of Slurm; default: the one that Slurm chooses")
    parser.add_argument("--epochs", type=int, default=50, help="of each network (default 50)")
    parser.add_argument("--job-script", action="store_true", help="print the script of a job, and end")
    parser.add_argument("--local", action="store_true", help="two workers on this machine instead of Slurm")
    args = parser.parse_args()

    if args.local:
        cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    else:
        from dask_jobqueue import SLURMCluster

        cluster = SLURMCluster(
            queue=args.partition,
            cores=args.cores,  # a worker trains as many models at a time
            processes=1,
            memory=args.memory,
            walltime=args.walltime,
        )
        if args.job_script:
            print(cluster.job_script())
            return
        cluster.scale(jobs=args.jobs)

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    settings = [(units, rate) for units in (16, 32, 64, 128) for rate in np.geomspace(1e-4, 1e-1, 16)]
    with cluster, Client(cluster) as client:
        client.wait_for_workers(1)  # the others join as Slurm starts them
        results = keras.fit_many(
            [partial(network, *setting) for setting in settings],
            x,
            y,
            epochs=args.epochs,
            validation_split=0.2,
            seeds=range(len(settings)),
            monitor="val_accuracy",
            backend=client,
        )
    scores = [result.history.history["val_accuracy"][-1] for result in results]
    best = np.argsort(scores)[::-1][:8]
    for number in best:
        units, rate = settings[number]
        print(f"{scores[number]:.4f} with {units} units and a learning rate of {rate:.4f}")
    keras.Ensemble([results.models[number] for number in best]).save("ensemble.keras")
    print("saved ensemble.keras")


if __name__ == "__main__":
    main()

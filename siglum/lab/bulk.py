"""Predict in bulk on a Ray cluster."""

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from siglum.errors import DataError
from siglum.lab.cluster import connect
from siglum.lab.run_folder import first_line
from siglum.recogniser.bulk import Part, Predictor, Unit


def run_on_cluster(
    predictor: Predictor, units: Sequence[Unit], jobs: int, address: str
) -> Iterator[Part]:
    """Predict units by actors, each with a recogniser of one thread; 0 `jobs` are one per CPU."""
    if not units:
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray Data warns of its own actors
    with connect(address):
        import ray
        from ray.exceptions import RayError, RayTaskError

        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        jobs = jobs or int(ray.cluster_resources()["CPU"])  # type: ignore[no-untyped-call]
        recogniser: Any = Predictor  # each actor makes one
        parts = ray.data.from_items(list(units), override_num_blocks=len(units)).map(
            recogniser,
            fn_constructor_kwargs=vars(predictor),
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=min(jobs, len(units))),
        )
        try:
            yield from parts.iter_rows()
        except RayTaskError:
            raise  # a bug
        except RayError as error:
            raise DataError(f"The cluster cannot predict: {first_line(error)}.") from None

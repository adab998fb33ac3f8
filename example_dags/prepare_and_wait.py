"""
### Prepare a model and wait until it is ready

The smallest pipeline. `prepare` requests the preparation, `ready` waits for it in the triggerer, and whatever follows
receives the model and the precision that is ready.
"""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor


@dag(schedule=None, tags=["fireworks"], doc_md=__doc__)
def prepare_and_wait():
    prepare = FireworksPrepareModelOperator(task_id="prepare", model="my-model", precision="FP8")
    ready = FireworksModelReadySensor(task_id="ready", prepared=prepare.output, deferrable=True)

    @task
    def what_comes_next(prepared: dict[str, str]) -> None:
        print(f"{prepared['model']} is ready at {prepared['precision']}.")

    what_comes_next(ready.output)


prepare_and_wait()

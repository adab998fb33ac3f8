"""
### From a checkpoint to the precision that serves

Uploads a checkpoint, deploys it at each precision for as long as `measure` takes, and deletes these deployments. Then
it deploys the best precision again, under an id made from the model and the precision, and routes all requests to it.
At the end, every deployment that `deploy` has created in this or an earlier run is deleted unless a router leads to it:
the previous deployment or, if routing failed, the new one. If a precision fails, or none meets the rule in the run's
params, nothing changes in production.

**Replace `measure`** with your own task, and name its results in the params `required` and `best_by`. **Deployments
cost money**: the one that requests are routed to stays until a later run replaces it.

The table of all measurements is an XCom of `report`. It is also the run's note if there is a connection `airflow_api`
to Airflow's own API (host, login and password of a user that may edit DAG runs): a task has no other way to set a note.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pendulum
from airflow.sdk import Param, dag, task, task_group

from airflow_provider_fireworks.client import Precision
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
    temporary_deployment,
)
from airflow_provider_fireworks.operators.model import (
    FireworksPrepareModelOperator,
    FireworksUploadModelOperator,
)
from airflow_provider_fireworks.operators.router import FireworksRouteOperator
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor

QUESTIONS = {
    f"What is {number} * 7? Answer with the number only.": str(number * 7) for number in range(3, 13)
}


# ---- Replace this with your own measurements.


@task
def measure(inference_model: str) -> dict[str, float]:
    """
    Return the measurements to choose by: numbers, under names of your own.

    :param inference_model: the ``model`` of inference requests.
    """
    # Imported here, so that parsing this file does not load the hook.
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

    hook = FireworksHook()

    def ask(prompt: str, **fields):
        messages = [{"role": "user", "content": prompt}]
        body = {"model": inference_model, "messages": messages, "max_tokens": 200, "temperature": 0, **fields}
        url = hook.config.url("inference/v1/chat/completions")
        response = hook.get_conn().post(url, json=body, timeout=60, stream=True)
        response.raise_for_status()
        return response

    answers = {
        question: ask(question).json()["choices"][0]["message"]["content"].strip() for question in QUESTIONS
    }

    began, arrivals, tokens = time.monotonic(), [], 0
    story = ask("Write a story about a fox.", stream=True, stream_options={"include_usage": True})
    for line in story.iter_lines():
        if line.startswith(b"data: {"):
            chunk = json.loads(line.removeprefix(b"data: "))
            if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                arrivals.append(time.monotonic())
            tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)

    return {
        "quality": sum(answers[question] == right for question, right in QUESTIONS.items()) / len(QUESTIONS),
        "time_to_first_token": round(arrivals[0] - began, 3),
        "tokens_per_second": round((tokens - 1) / max(arrivals[-1] - arrivals[0], 0.001), 1),
    }


# ---- The rest works with any measurements.


def best(measured: dict[str, dict[str, float]], params: dict) -> str | None:
    """Return the precision that the rule in the params chooses, ``None`` if none meets it."""
    name = params["best_by"].removeprefix("-")
    sign = -1 if params["best_by"].startswith("-") else 1
    fit = [
        precision
        for precision, values in measured.items()
        if all(values[required] >= least for required, least in params["required"].items())
    ]
    return max(fit, key=lambda precision: sign * measured[precision][name], default=None)


def set_note(dag_run, text: str) -> None:
    """Set the note of a run through Airflow's public API, if there is a connection to it."""
    import requests
    from airflow.exceptions import AirflowNotFoundException
    from airflow.sdk import Connection

    try:
        airflow = Connection.get("airflow_api")
    except AirflowNotFoundException:
        print("The table is not the note of this run, as there is no connection airflow_api.")
        return
    url = airflow.host.rstrip("/")
    user = {"username": airflow.login, "password": airflow.password}
    try:
        token = requests.post(f"{url}/auth/token", json=user, timeout=30)
        token.raise_for_status()
        requests.patch(
            f"{url}/api/v2/dags/{dag_run.dag_id}/dagRuns/{dag_run.run_id}",
            params={"update_mask": "note"},
            headers={"Authorization": f"Bearer {token.json()['access_token']}"},
            # Airflow allows 1000 characters.
            json={"note": text[:1000]},
            timeout=30,
        ).raise_for_status()
    except requests.RequestException as error:
        print(f"The table is not the note of this run: {error}")


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # Two runs would replace each other's deployment.
    max_active_runs=1,
    tags=["fireworks"],
    doc_md=__doc__,
    params={
        "source": Param(
            "s3://my_connection@my-bucket/my-checkpoint",
            type="string",
            title="Checkpoint",
            description="The URL of a folder with a Hugging Face checkpoint, as ObjectStoragePath reads it.",
        ),
        "model": Param(
            "my-tuned-model",
            type="string",
            title="Model",
            description="The run's time is added to this id, so that each run uploads a model of its own.",
        ),
        "router": Param("my-router", type="string", title="Router", description="The name that clients use."),
        "precisions": Param(
            ["FP8", "FP4"],
            type="array",
            title="Precisions",
            examples=[precision.value for precision in Precision],
            minItems=1,
            uniqueItems=True,
        ),
        "required": Param(
            {"quality": 0.9},
            type="object",
            title="Required",
            description="The least value that a precision must reach, for each measurement named here.",
        ),
        "best_by": Param(
            "tokens_per_second",
            type="string",
            title="Best by",
            description="The measurement whose highest value wins; with a minus before its name, the lowest.",
        ),
        "accelerator_type": Param("NVIDIA_H100_80GB", type="string", title="Accelerator type"),
    },
)
def checkpoint_to_production():
    @task
    def precisions(params: dict) -> list[str]:
        return params["precisions"]

    upload = FireworksUploadModelOperator(
        task_id="upload",
        model="{{ params.model }}-{{ dag_run.run_after | ts_nodash | lower }}",
        source="{{ params.source }}",
        deferrable=True,
        poll_interval=10,
    )

    @task_group
    def evaluate(model: str, precision: str):
        prepare = FireworksPrepareModelOperator(
            task_id="prepare",
            model=model,
            precision=precision,
            deferrable=True,
            poll_interval=10,
        )
        ready = FireworksModelReadySensor(
            task_id="ready", prepared=prepare.output, deferrable=True, poke_interval=10
        )
        with temporary_deployment(
            prepared=ready.output,
            accelerator_type="{{ params.accelerator_type }}",
            max_replica_count=1,
            # If it is orphaned, it scales to zero after five minutes without a request instead of an hour.
            extra_spec={"autoscalingPolicy": {"scaleToZeroWindow": "300s"}},
            deferrable=True,
            poll_interval=10,
        ) as deployment:
            return measure(deployment.inference_model)

    @task(multiple_outputs=False)
    def compare(results: list[dict[str, float]], params: dict) -> dict[str, dict[str, float]]:
        # With a single precision, Airflow passes its result itself instead of a list.
        listed = [results] if isinstance(results, dict) else results
        return dict(zip(params["precisions"], listed, strict=True))

    @task
    def report(measured: dict[str, dict[str, float]], params: dict, dag_run=None) -> str:
        """Return a Markdown table of all precisions, with the chosen one in bold."""
        chosen = best(measured, params)
        names = list(next(iter(measured.values())))
        lines = [f"| precision | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
        for precision, values in measured.items():
            shown = f"**{precision}**" if precision == chosen else precision
            lines.append(f"| {shown} | {' | '.join(str(values[name]) for name in names)} |")
        table = "\n".join(lines)
        print(table)
        set_note(dag_run, table)
        return table

    @task
    def choose(model: str, measured: dict[str, dict[str, float]], params: dict) -> dict[str, str]:
        precision = best(measured, params)
        if precision is None:
            raise ValueError(
                f"No precision has the required {params['required']}: see the table of `report`."
            )
        deployment_id = f"{model.rpartition('/')[2]}-{precision}".lower().replace("_", "-")
        # An id has at most 63 characters. The end is kept, as the run's time and the precision make it unique.
        return {"precision": precision, "deployment_id": deployment_id[-63:].lstrip("-")}

    @task
    def unused(deployed: str, router: str | None, **context) -> list[str]:
        """
        Return the deployments that `deploy` has created in any run and that no router leads to.

        :param deployed: what this run has deployed.
        :param router: the router that leads to it; ``None`` if `route` has failed.
        """
        from airflow_provider_fireworks.deployments.ownership import Owner
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        hook = FireworksHook()
        # A router that Fireworks generated for a deployment does not show that the deployment is in use.
        routers = [each for each in hook.list_routers() if not each.auto_generated]
        used = {name for each in routers for name in each.deployments or []}
        if router:
            used.add(deployed)
        # The description of a deployment names the task that created it, its owner.
        deploy = replace(Owner.from_context(context), task_id="deploy")
        owners = {each.name: Owner.from_description(each.description) for each in hook.list_deployments()}
        return [
            name for name, owner in owners.items() if owner and owner.same_task(deploy) and name not in used
        ]

    measured = compare(evaluate.partial(model=upload.output["model"]).expand(precision=precisions()))
    report(measured)
    chosen = choose(upload.output["model"], measured)
    deploy = FireworksCreateDeploymentOperator(
        task_id="deploy",
        model=upload.output["model"],
        precision=chosen["precision"],
        deployment_id=chosen["deployment_id"],
        accelerator_type="{{ params.accelerator_type }}",
        max_replica_count=1,
        wait_for_inference=True,
        deferrable=True,
        poll_interval=10,
    )
    route = FireworksRouteOperator(
        task_id="route", router="{{ params.router }}", deployments=deploy.output["deployment"]
    )
    # As teardowns of `deploy`, these two run even if `route` fails. Clearing `route` also clears `deploy`, their setup.
    found = unused(deploy.output["deployment"], route.output["router"]).as_teardown(setups=deploy)
    delete_unused = FireworksDeleteDeploymentOperator(
        task_id="delete_unused",
        deployment=found,
        # Without this, the API refuses to delete a deployment that served a request within the last hour.
        ignore_checks=True,
    )
    delete_unused.as_teardown(setups=deploy, on_failure_fail_dagrun=True)


checkpoint_to_production()

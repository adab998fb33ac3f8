"""The operator that uploads a model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskDeferred, conf

from airflow_provider_fireworks.airflow_state import mark_try
from airflow_provider_fireworks.arguments import UploadArguments
from airflow_provider_fireworks.client.errors import ApiError, NotFoundError, RefusedError
from airflow_provider_fireworks.client.files import SourceError
from airflow_provider_fireworks.client.progress import in_bytes
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.exceptions import (
    FireworksError,
    FireworksInvalidArgument,
    FireworksModelConflict,
    FireworksUploadFailed,
    add_to_message,
    error_from_api,
)
from airflow_provider_fireworks.links import FireworksModelLink
from airflow_provider_fireworks.models.source import ModelKind, Source
from airflow_provider_fireworks.models.upload import ModelUpload, UploadStep
from airflow_provider_fireworks.models.wait import UploadWait
from airflow_provider_fireworks.operators.base import WaitingOperator
from airflow_provider_fireworks.operators.model.cleanup import ModelCleanUp
from airflow_provider_fireworks.polling import Event, Outcome, Until, Verdict
from airflow_provider_fireworks.task import parse_resumed
from airflow_provider_fireworks.triggers.model import FireworksModelUploadTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.progress import Progress

_ENDED_BY_DEADLINE = (
    UploadStep.READ,
    UploadStep.CREATE,
    UploadStep.REPLACE,
    UploadStep.UPLOAD,
    UploadStep.PAUSE,
)
_REFUSED_HINT = "Correct the files."


class FireworksUploadModelOperator(WaitingOperator):
    """
    Upload a model from a folder: a Hugging Face checkpoint, or a LoRA.

    The task lists the folder, creates the model (``POST /v1/accounts/{account}/models``), requests a signed URL for
    each file (``:getUploadEndpoint``), sends the files, several at a time, and waits until the API has validated them
    (``:validateUpload``) and shows the model as READY. It never validates before every byte is uploaded.

    Files are streamed through Airflow's ``ObjectStoragePath``, at less than 64 MiB of memory for each parallel file.
    Stores other than the local disk need further packages, such as ``s3fs`` with Airflow's Amazon provider.

    A retry adopts the model that an earlier try has created, and uploads all files again. If another task or another
    run has created a model with this id, the task fails with ``FireworksModelConflict``. So put the run into the id, as
    in the example, or set ``if_exists="skip"``.

    Returns ``{"model": "accounts/…/models/…"}``, the ``model`` of
    :class:`~airflow_provider_fireworks.operators.model.FireworksPrepareModelOperator`. It is an XCom too.

    Example::

        upload = FireworksUploadModelOperator(
            task_id="upload",
            model="my-model-{{ dag_run.run_after | ts_nodash | lower }}",
            source="s3://my_connection@my-bucket/checkpoints/{{ dag_run.run_after | ds }}",
            deferrable=True,
        )

    :param model: id or full resource name of the new model. The id must not begin with a digit.
    :param source: a folder, as ``ObjectStoragePath`` reads it: ``s3://connection@bucket/path``, ``gs://…``,
        ``file:///path``. Hidden files are left out.
    :param kind: what the folder must be, ``"HF_BASE_MODEL"`` or ``"HF_PEFT_ADDON"`` (a LoRA); without it, a folder with
        ``adapter_config.json`` is a LoRA, and any other a base model.
    :param base_model: required for a LoRA: id or full resource name of the model that it was trained on.
    :param base_model_details: for a base model: further fields, as the API spells them (``{"worldSize": 2}``).
    :param if_exists: what to do if another run or map index of this task has created the model: ``"fail"``, or
        ``"skip"``, which succeeds if the same files were uploaded (by names, sizes and ETags or times) and the model is
        READY or being prepared.
    :param validate: have the API validate the files. Without it, the model stays UPLOADING.
    :param trust_remote_code: let the validation trust the checkpoint's own code.
    :param max_parallel: files to upload at the same time, 64 at most.
    :param delete_on_failure: delete the model if this task fails with an error that is not retried, has no retry left,
        or is marked as failed; but not if the model is READY or being prepared.
    :param deferrable: wait for the validation in the triggerer. The worker always sends the files.
    :param poll_interval: seconds between two polls.
    :param timeout: seconds until the task fails, for uploading and waiting together.
    :param account_id: the account to create it in, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY`` and the like.
    :raises FireworksInvalidArgument: if an argument is invalid, or the folder is not one that can be uploaded; nothing
        was sent, and it is not retried.
    :raises FireworksModelConflict: if the id is taken by somebody else's model, or by one with other files; not
        retried.
    :raises FireworksAccessDenied: if the API rejects the key, or the account may not do this; not retried.
    :raises FireworksNotFound: if the base model does not exist; not retried.
    :raises FireworksRefused: if the API refuses a request, or finds the files invalid; not retried.
    :raises FireworksBadConnection: if the connection cannot be used; not retried.
    :raises FireworksUnreachable: if something other than the Fireworks API is at the Base URL; retried.
    :raises FireworksUploadFailed: if a file could not be read or has changed, or if the model failed or was deleted
        meanwhile; retried.
    :raises FireworksTimeout: if the time is over; retried.
    """

    template_fields: Sequence[str] = tuple(
        field.alias or name for name, field in UploadArguments.model_fields.items()
    )
    operator_extra_links = (FireworksModelLink(),)
    ui_color = "#dcefe0"
    failure_class = FireworksUploadFailed
    trigger_class = FireworksModelUploadTrigger

    def __init__(
        self,
        *,
        model: str,
        source: str,
        kind: str | None = None,
        base_model: str | None = None,
        base_model_details: dict[str, Any] | None = None,
        if_exists: str = "fail",
        validate: bool = True,
        trust_remote_code: bool = False,
        max_parallel: int = 4,
        delete_on_failure: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30,
        timeout: float = 21600,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.model = model
        self.source = source
        self.kind = kind
        self.base_model = base_model
        self.base_model_details = base_model_details
        self.if_exists = if_exists
        self.validate = validate
        self.trust_remote_code = trust_remote_code
        self.max_parallel = max_parallel
        self.delete_on_failure = delete_on_failure
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        self._check_literals(UploadArguments)
        self._upload: ModelUpload | None = None
        self._killed = False
        self._kill_may_raise = False

    @cached_property
    def _arguments(self) -> UploadArguments:
        return UploadArguments.check(**self._given())

    # ---- called by Airflow

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the model unless it exists, upload its files, and wait until it is READY."""
        self._set_context(context)
        with self._cleaning_up(may_exist=self._ti.try_number > 1):
            mark_try(self._ti)
            self._upload = upload = self._begin()
            return self._run(upload)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as any task does, and also clean up if the wait ended without an event, as by a timeout."""
        self._set_context(context)
        with self._cleaning_up(may_exist=True):
            return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Stop the task. Airflow calls this in its handler of SIGTERM, in the middle of whatever the task does."""
        self._killed = True
        if self._kill_may_raise:
            self._stop_if_killed()

    # ---- the steps

    def _resume(self, context: Context, event: Event) -> dict[str, Any]:
        self._upload = upload = parse_resumed(ModelUpload, {**event.resume_state, "timing": self.timing})
        self._take_in(upload, event.verdict)
        return self._run(upload)

    def _run(self, upload: ModelUpload) -> dict[str, Any]:
        while True:
            self._check(upload)
            try:
                if self._take_step(upload):
                    return {"model": str(upload.model)}
            except ApiError as error:
                self._take_in_error(upload, error)

    def _take_step(self, upload: ModelUpload) -> bool:
        """Take the next step; return whether the task is done."""
        match upload.step:
            case UploadStep.READ:
                self._read(upload)
            case UploadStep.CREATE:
                self._create(upload)
            case UploadStep.REPLACE:
                self._replace(upload)
            case UploadStep.UPLOAD:
                self._upload_files(upload)
            case UploadStep.VALIDATE:
                self.log.info("%s: %s. Validating them.", upload.model, upload.note)
                self._take_in(upload, self._validate_files(upload))
            case UploadStep.PAUSE:
                self._log_pause(f"{upload.model}: {upload.note}")
                time.sleep(upload.begin_pause(self._arguments.poll_interval))
            case UploadStep.DONE:
                self.log.info("%s: %s.", upload.model, upload.note)
                return True
            case UploadStep.FAILED:
                raise self._error_from(Verdict(Outcome.FAILED, upload.note), str(upload.model))
            case UploadStep.CONFLICT:
                raise FireworksModelConflict(
                    f"{upload.model} exists already and is left alone: {upload.note}. {FireworksModelConflict.hint}"
                )
        return False

    def _read(self, upload: ModelUpload) -> None:
        found = None
        with suppress(NotFoundError):
            found = self.hook.get_model(upload.model)
        upload.on_read(found, self._owner, self._arguments.if_exists, time.time())
        # For the link in the UI while the task uploads, and for tasks that delete the model that this one pushed, which
        # must not be somebody else's.
        is_conflict = upload.step is UploadStep.CONFLICT
        self._ti.xcom_push(key="model", value=None if is_conflict else str(upload.model))

    def _create(self, upload: ModelUpload) -> None:
        source = self._source
        spec = deepcopy(self._spec)
        self.log.info(
            "Creating %s (%s) for %d files, %s, of %s.",
            upload.model,
            source.kind.value,
            len(source.files),
            in_bytes(source.size),
            source.folder,
        )
        description = replace(self._owner, digest=upload.digest).description
        if source.kind is ModelKind.LORA:
            spec["peftDetails"]["baseModel"] = str(
                self.hook.base_model_name(self._arguments.base_model or "")
            )
        upload.before_create(time.time())
        try:
            self.hook.create_model(upload.model, {**spec, "description": description})
        except RefusedError as error:
            if error.status != 409:
                raise
            self.log.info("%s", error)
            upload.on_id_taken()
        else:
            upload.on_created()

    def _replace(self, upload: ModelUpload) -> None:
        self.log.info("%s: %s. Deleting it.", upload.model, upload.note)
        with suppress(NotFoundError):
            self.hook.delete_model(upload.model)
        upload.on_deleted()

    def _upload_files(self, upload: ModelUpload) -> None:
        source = self._source
        self.log.info("%s: %s. Uploading %d files.", upload.model, upload.note, len(source.files))
        try:
            self.hook.upload_files(
                upload.model,
                source.files,
                max_parallel=self._arguments.max_parallel,
                # The deadline is checked here, where its error says which argument it comes from.
                timeout=math.inf,
                check=lambda progress: self._check(upload, progress),
            )
            # If the files have changed meanwhile, the upload may be a mix of an old and a new checkpoint.
            listed = self._list_source()
        except SourceError as error:
            raise FireworksUploadFailed(f"{upload.model}: {error}. {FireworksUploadFailed.hint}") from None
        if listed.digest(self._spec) != upload.digest:
            raise FireworksUploadFailed(
                f"{upload.model}: {source.folder} has changed while it was uploaded. {FireworksUploadFailed.hint}"
            )
        upload.on_uploaded(validates=self._arguments.validates)

    def _validate_files(self, upload: ModelUpload) -> Verdict:
        """Validate the files. The first poll is sent by the worker, as a small model is validated at once."""
        wait = self._new_wait(Until.READY, upload)
        verdict = wait.observe(self._send_once(wait.next_request()), time.time())
        while wait.is_mid_poll:
            verdict = wait.observe(self._send_once(wait.next_request()), time.time())
        if verdict.is_terminal:
            return verdict
        self.log.info("%s: %s.", upload.model, verdict.reason)
        return self._wait(wait, upload)

    def _take_in(self, upload: ModelUpload, verdict: Verdict) -> None:
        """Take in how a wait has ended, or raise an error if it did not end well."""
        if verdict.outcome is not Outcome.READY:
            error = self._error_from(verdict, str(upload.model))
            if verdict.outcome is Outcome.REFUSED and upload.step is UploadStep.VALIDATE:
                add_to_message(error, _REFUSED_HINT)
            raise error
        if upload.step is not UploadStep.VALIDATE:
            return
        if "warnings" in verdict.reason:
            self.log.warning("%s: %s.", upload.model, verdict.reason)
        upload.on_validated(verdict.reason)

    def _take_in_error(self, upload: ModelUpload, error: ApiError) -> None:
        """Take in a request that failed: raise its error, or continue when the API responds again."""
        is_unknown = error.is_transient and error.outcome_unknown
        if upload.step is UploadStep.CREATE and is_unknown:
            upload.on_unknown_outcome(error)
        elif upload.step is UploadStep.CREATE:
            upload.on_not_created()
        elif upload.step is UploadStep.REPLACE:
            upload.read_again()
        if isinstance(error, NotFoundError) and upload.on_missing(time.time()):
            return
        if isinstance(error, NotFoundError) and upload.step is UploadStep.UPLOAD:
            raise self._error_from(
                Verdict(Outcome.FAILED, f"it was deleted: {error}"), str(upload.model)
            ) from None
        if not error.is_transient:
            raise error_from_api(error, f"{upload.model}: {error}") from None
        wait = self._new_wait(Until.RESPONSE, upload)
        self._take_in(upload, self._wait_after_error(error, wait, upload))

    def _new_wait(self, until: Until, upload: ModelUpload) -> UploadWait:
        return UploadWait(
            model=upload.model,
            trust_remote_code=self._arguments.trust_remote_code,
            until=until,
            has_responded=self._has_responded,
            deadline=upload.deadline,
            poll_interval=self._arguments.poll_interval,
            timing=self.timing,
        )

    # ---- arguments and names

    def _set_context(self, context: Context) -> None:
        self._ti = context["ti"]
        self._owner = Owner.from_context(context)

    @cached_property
    def _source(self) -> Source:
        """
        The folder's files, and whether they are a base model or a LoRA.

        :raises FireworksInvalidArgument: if it cannot be read or uploaded.
        """
        try:
            source = self._list_source()
        except SourceError as error:
            raise _source_failure(error) from None
        unknown = next((file.name for file in source.files if not file.version), None)
        if unknown and self._arguments.if_exists == "skip":
            raise FireworksInvalidArgument(
                f"if_exists: with 'skip', a change of {source.folder} would not be noticed, as {unknown} has neither "
                "an ETag nor a time. Use 'fail', with an id for each run."
            )
        return source

    @cached_property
    def _spec(self) -> dict[str, Any]:
        """The model to create. Its base model is as the user wrote it, so that no request is needed for the digest."""
        from airflow_provider_fireworks.storage import read_json

        source, arguments = self._source, self._arguments
        try:
            configs = {
                file.name: read_json(source.folder, file)
                for file in source.files
                if file.name in source.configs
            }
            return source.spec(
                configs, base_model=arguments.base_model, base_model_details=arguments.base_model_details
            )
        except SourceError as error:
            raise _source_failure(error) from None

    def _list_source(self) -> Source:
        # Not at the top, as parsing a DAG file must not load fsspec.
        from airflow_provider_fireworks.storage import list_files

        arguments = self._arguments
        return Source.of(arguments.source, list_files(arguments.source), arguments.kind)

    def _begin(self) -> ModelUpload:
        """Return the state of a task that has sent nothing yet. Looking up the account may take a request."""
        deadline = time.time() + self._time_limit.seconds
        model = self._arguments.model
        # First, so that an invalid folder is an error before anything is sent.
        digest = self._source.digest(self._spec)
        return ModelUpload(
            model=self._send_patiently(
                lambda: self.hook.model_name(model), self._response_wait(model, deadline), model
            ),
            deadline=deadline,
            kind=self._source.kind,
            digest=digest,
            # An earlier try may have been killed right after it created the model.
            may_exist=self._ti.try_number > 1,
            timing=self.timing,
        )

    # ---- failing

    def _check(self, upload: ModelUpload, progress: Progress | None = None) -> None:
        """Raise if the task is killed, or if its time is over before the files are uploaded."""
        self._stop_if_killed()
        if upload.step in _ENDED_BY_DEADLINE and time.time() >= upload.deadline:
            seen = (progress and progress.last_error) or upload.note or "nothing was requested yet"
            raise self._error_from(Verdict(Outcome.TIMEOUT, f"last seen: {seen}"), str(upload.model))

    def _stop_if_killed(self) -> None:
        if self._killed:
            raise FireworksError("This task was killed.")

    @contextmanager
    def _cleaning_up(self, *, may_exist: bool) -> Iterator[None]:
        """
        Delete the model that this task has created if the block fails for good.

        :param may_exist: whether the model may exist although this try has not read it yet.
        """
        try:
            self._kill_may_raise = True
            yield
            self._kill_may_raise = False
        except TaskDeferred:
            self._kill_may_raise = False
            raise
        except BaseException as error:
            self._kill_may_raise = False
            upload = self._upload
            if upload.may_exist if upload else may_exist:
                self._clean_up(error)
            raise

    def _clean_up(self, error: BaseException) -> None:
        try:
            delete_on_failure = self._arguments.delete_on_failure
        except FireworksInvalidArgument:
            # The connection is an argument too, so nothing can be deleted.
            add_to_message(error, f"{self.model} is kept if an earlier try of this task has created it.")
            return
        clean_up = ModelCleanUp(
            model=self._upload.model if self._upload else self.model,
            owner=self._owner,
            get_hook=lambda: self.hook,
            ti=self._ti,
            log=self.log,
            timing=self.timing,
            error=error,
            killed=self._killed,
            delete_on_failure=delete_on_failure,
            visible_by=self._upload.visible_by if self._upload else None,
        )
        if problem := clean_up.run():
            add_to_message(error, problem)


def _source_failure(error: SourceError) -> FireworksError:
    if error.is_transient:
        return FireworksUploadFailed(f"source: {error}. {FireworksUploadFailed.hint}")
    return FireworksInvalidArgument(f"source: {error}. Correct the folder or the DAG.")

"""
Checks the folder that a model is uploaded from, and builds the model to create from it. Does no I/O.

A folder is either a Hugging Face checkpoint or a LoRA, which has an ``adapter_config.json``. What the API would refuse
only after hours of uploading is an error here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from airflow_provider_fireworks.client.files import SourceError, SourceFile
from airflow_provider_fireworks.client.text import one_line

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_WEIGHTS = (".safetensors", ".bin")
_NO_WEIGHTS = "training_args.bin"
_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_BIN_INDEX = "pytorch_model.bin.index.json"
_MODEL_CARD = "README.md"
"""PEFT writes one beside every LoRA. It is not uploaded with it, as the API accepts no further file."""
_DIGITS = 32


class ModelKind(str, Enum):
    """What a model is, as the API spells it."""

    BASE = "HF_BASE_MODEL"
    LORA = "HF_PEFT_ADDON"


class InvalidSourceError(SourceError):
    """The folder is not one that can be uploaded."""


@dataclass(frozen=True)
class Source:
    """
    The files of a folder, and what kind of model they are.

    :ivar folder: as the user wrote it, for messages.
    :ivar files: what to upload.
    """

    folder: str
    kind: ModelKind
    files: tuple[SourceFile, ...]

    @classmethod
    def of(cls, folder: str, listed: Sequence[SourceFile], kind: ModelKind | None) -> Source:
        """
        Check the files of a folder, and return what to upload.

        :param listed: all files below the folder.
        :param kind: the kind that it must be; ``None`` for either.
        :raises InvalidSourceError: if it is of neither kind or not of this one, if files are missing, or if a LoRA has
            others.
        """
        files = {file.name: file for file in listed}
        if not files:
            raise InvalidSourceError(f"{folder} has no files, or does not exist")
        is_lora = ADAPTER_CONFIG in files
        found = ModelKind.LORA if is_lora else ModelKind.BASE
        if kind is not None and kind is not found:
            has = f"has {ADAPTER_CONFIG}, so it is a LoRA" if is_lora else f"has no {ADAPTER_CONFIG}"
            raise InvalidSourceError(f"{folder} does not fit kind={kind.value!r}: it {has}")
        if is_lora:
            files.pop(_MODEL_CARD, None)
            _check_lora(folder, files)
        else:
            _check_base(folder, files)
        return cls(folder, found, tuple(file for _, file in sorted(files.items())))

    @property
    def configs(self) -> list[str]:
        """The names of the JSON files whose content :meth:`spec` needs."""
        if self.kind is ModelKind.LORA:
            return [ADAPTER_CONFIG]
        names = {file.name for file in self.files}
        # transformers prefers safetensors, so an index of .bin files beside them may be a leftover, without its files.
        indexes = [_INDEX] if names & {_WHOLE, _INDEX} else [_BIN_INDEX]
        return [CONFIG, *(index for index in indexes if index in names)]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def spec(
        self,
        configs: Mapping[str, Any],
        *,
        base_model: str | None = None,
        base_model_details: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """
        Return the model to create, with the API's field names and without a description.

        :param configs: the parsed content of each of :attr:`configs`.
        :param base_model: full resource name of the model that a LoRA was trained on.
        :param base_model_details: further fields of ``baseModelDetails``.
        :raises InvalidSourceError: if the configuration is not one that can be uploaded, or if an argument is missing
            or does not fit.
        """
        for name, config in configs.items():
            if not isinstance(config, dict):
                raise InvalidSourceError(f"{self.folder}: {name} is not a JSON object")
        if self.kind is ModelKind.LORA:
            return self._lora_spec(configs[ADAPTER_CONFIG], base_model, base_model_details)
        if base_model is not None:
            raise InvalidSourceError(
                f"base_model: {self.folder} has no {ADAPTER_CONFIG}, so it is not a LoRA"
            )
        if configs[CONFIG].get("quantization_config") is not None:
            raise InvalidSourceError(
                f"{self.folder}: {CONFIG} has a quantization_config, so the checkpoint is quantized already. Upload "
                "the original, and prepare it at the precisions to deploy"
            )
        names = [file.name for file in self.files]
        for index in configs.keys() - {CONFIG}:
            self._check_index(index, configs[index].get("weight_map"), names)
        details = {"checkpointFormat": "HUGGINGFACE", "worldSize": 1, "huggingfaceFiles": names}
        return {"kind": self.kind.value, "baseModelDetails": {**details, **(base_model_details or {})}}

    def digest(self, spec: Mapping[str, Any]) -> str:
        """Return a digest of the upload: name, size and version of each file, and the model to create."""
        files = [(file.name, file.size, file.version) for file in self.files]
        text = json.dumps([files, spec], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]

    def _lora_spec(
        self, config: Mapping[str, Any], base_model: str | None, details: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        if base_model is None:
            trained_on = one_line(repr(config.get("base_model_name_or_path")), limit=200)
            raise InvalidSourceError(
                f"Missing base_model: {self.folder} is a LoRA, and needs the model on Fireworks that it was trained "
                f"on, {trained_on}"
            )
        if details is not None:
            raise InvalidSourceError(f"base_model_details: {self.folder} is a LoRA, and has none")
        rank, modules = config.get("r"), config.get("target_modules")
        if not isinstance(rank, int) or isinstance(rank, bool):
            raise InvalidSourceError(f"{self.folder}: r in {ADAPTER_CONFIG} is not a whole number")
        if not isinstance(modules, list) or not all(isinstance(module, str) for module in modules):
            raise InvalidSourceError(
                f"{self.folder}: target_modules in {ADAPTER_CONFIG} is not a list of names, which the API needs"
            )
        peft = {"baseModel": base_model, "r": rank, "targetModules": modules}
        return {"kind": self.kind.value, "peftDetails": peft}

    def _check_index(self, index: str, weight_map: Any, names: Sequence[str]) -> None:
        named = set(map(str, weight_map.values())) if isinstance(weight_map, dict) else set()
        if missing := sorted(named - set(names)):
            raise InvalidSourceError(f"{self.folder} lacks files that {index} names: {_listing(missing)}")


def _check_base(folder: str, files: Mapping[str, SourceFile]) -> None:
    if CONFIG not in files:
        raise InvalidSourceError(
            f"{folder} has neither {CONFIG} nor {ADAPTER_CONFIG}, so it is neither a Hugging Face checkpoint nor a "
            f"LoRA. It has {_listing(sorted(files))}"
        )
    if not any(name.endswith(_WEIGHTS) and not name.endswith(_NO_WEIGHTS) for name in files):
        raise InvalidSourceError(f"{folder} has no weights, such as model.safetensors")


def _check_lora(folder: str, files: Mapping[str, SourceFile]) -> None:
    weights = [name for name in _ADAPTER_WEIGHTS if name in files]
    if len(weights) != 1:
        raise InvalidSourceError(
            f"{folder} is a LoRA, and must have one of {' and '.join(_ADAPTER_WEIGHTS)}; it has "
            f"{'both' if weights else 'neither'}"
        )
    if others := sorted(files.keys() - {ADAPTER_CONFIG, *weights}):
        raise InvalidSourceError(
            f"{folder} is a LoRA, for which the API takes only {ADAPTER_CONFIG} and {weights[0]}. Move these files "
            f"elsewhere: {_listing(others)}"
        )


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return one_line(", ".join(names[:10])) + more

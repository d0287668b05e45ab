"""Models in plain Llama format: what transformers, vLLM and others load without code of ours, and what a training may go on from.

A folder holds config.json, generation_config.json, safetensors (one file, or several with an index) and the tokenizer's files. Names of
tensors are those of our `Decoder`'s parameters with the prefix `model.`, but for `lm_head.weight`. Nothing here unpickles anything.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import UserError
from pipeline.files import to_disk
from tokenizer.encoder import TokenizerFile, load_tokenizer
from tokenizer.export import CONFIG as TOKENIZER_CONFIG
from tokenizer.export import TEMPLATE
from tokenizer.special_tokens import BOS, EOS, PAD
from tokenizer.vocabulary import TOKENIZER
from training.model import INITIAL_STD, Decoder
from training.model_config import ModelConfig, RopeScaling
from training.rope import frequencies

CONFIG, GENERATION, WEIGHTS, INDEX = "config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json"

MAX_FILE_BYTES = 5 * 10**9
"""Of one file of weights, as transformers 4 wrote them: small enough to copy again when a copy breaks off."""

_HEAD = "lm_head.weight"
_NUMBERS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "max_position_embeddings")


def parameter_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each parameter of a Decoder, by its name there; a tied head is none."""
    with torch.device("meta"):
        return {name: tuple(parameter.shape) for name, parameter in Decoder(config).named_parameters()}


def llama_name(name: str) -> str:
    """The name in Llama's format of a Decoder's parameter."""
    return name if name == _HEAD else f"model.{name}"


# Writing ------------------------------------------------------------------------------------------------------------------------------


def write_llama(
    folder: Path, config: ModelConfig, tensors: Iterable[tuple[str, torch.Tensor]], tokenizer: Path, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write a model with its tokenizer; the folder appears complete or not at all.

    tensors: every parameter of a Decoder once, by its name there, in any order, one in memory at a time but for a file's worth.
    Raises UserError when the folder isn't empty, the tokenizer doesn't fit the model, or space is short; ValueError when tensors aren't
    those of the configuration.
    """
    loaded = load_tokenizer(tokenizer)
    if loaded.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer '{tokenizer}' has {loaded.vocab_size:,} entries and the model {config.vocab_size:,}; give the model's tokenizer"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"'{folder}' exists and is not an empty folder; give another one with -o")
    _parent_of(folder)
    needed, free = config.parameters * dtype.itemsize, shutil.disk_usage(folder.parent).free
    if needed > free:
        raise UserError(f"the model takes {needed / 1e9:.1f} GB and '{folder.parent}' has {free / 1e9:.1f} GB left; free some space")
    temporary = folder.resolve().with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        _write_tensors(temporary, config, tensors, dtype)
        _write_json(temporary / CONFIG, llama_config(config, loaded, dtype))
        _write_json(temporary / GENERATION, {"do_sample": False, **_special_ids(loaded)})
        for name in (TOKENIZER, TOKENIZER_CONFIG, TEMPLATE):
            if (tokenizer / name).exists():
                shutil.copyfile(tokenizer / name, temporary / name)
        for path in temporary.iterdir():
            path.chmod(0o644)  # safetensors makes files that only their owner reads
            to_disk(path)
        to_disk(temporary)
        os.replace(temporary, folder)
        to_disk(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _parent_of(folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(folder.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UserError(f"can't write to '{folder.parent}': {error.strerror}; give another folder with -o") from error


def llama_config(config: ModelConfig, tokenizer: TokenizerFile, dtype: torch.dtype) -> dict[str, Any]:
    """The content of config.json.

    Rotary frequencies stand there twice: transformers 5 and recent vLLM read `rope_parameters`, transformers 4 and older vLLM `rope_theta`
    and `rope_scaling`; each reads past the other, or prefers `rope_scaling`, which says the same. So do `dtype` and `torch_dtype`.
    """
    scaling = None if config.rope_scaling is None else {"rope_type": "llama3", **asdict(config.rope_scaling)}
    name = str(dtype).removeprefix("torch.")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position_embeddings,
        "initializer_range": INITIAL_STD,
        "rms_norm_eps": config.norm_eps,
        "use_cache": True,
        "tie_word_embeddings": config.tied,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "rope_parameters": {**(scaling or {"rope_type": "default"}), "rope_theta": config.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "pretraining_tp": 1,
        **_special_ids(tokenizer),
        "dtype": name,
        "torch_dtype": name,
    }


def _special_ids(tokenizer: TokenizerFile) -> dict[str, int | None]:
    roles = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    return {role: tokenizer.ids.get(token) for role, token in roles.items()}


def _write_tensors(folder: Path, config: ModelConfig, tensors: Iterable[tuple[str, torch.Tensor]], dtype: torch.dtype) -> None:
    """Files of at most MAX_FILE_BYTES (or one tensor), named once it is known how many they are."""
    from safetensors.torch import save_file

    left = parameter_shapes(config)
    parts: list[list[str]] = []
    pending: dict[str, torch.Tensor] = {}

    def write() -> None:
        save_file(pending, folder / f"part-{len(parts)}", metadata={"format": "pt"})
        parts.append(list(pending))
        pending.clear()

    pending_bytes = 0
    for name, tensor in tensors:
        if left.pop(name, None) != tuple(tensor.shape):
            raise ValueError(f"'{name}' with shape {tuple(tensor.shape)} is no parameter of the model, or came twice")
        size = tensor.numel() * dtype.itemsize
        if pending and pending_bytes + size > MAX_FILE_BYTES:
            write()
            pending_bytes = 0
        # A copy even where nothing changes: the caller's tensor may be a buffer that holds the next one by the time it is written.
        pending[llama_name(name)] = torch.empty(tensor.shape, dtype=dtype).copy_(tensor.detach())
        pending_bytes += size
    if left:
        raise ValueError(f"the parameter '{next(iter(left))}' of the model did not come")
    write()

    if len(parts) == 1:
        os.rename(folder / "part-0", folder / WEIGHTS)
        return
    names = [f"model-{number + 1:05}-of-{len(parts):05}.safetensors" for number in range(len(parts))]
    for number, name in enumerate(names):
        os.rename(folder / f"part-{number}", folder / name)
    places = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
    total = {"total_size": config.parameters * dtype.itemsize, "total_parameters": config.parameters}
    _write_json(folder / INDEX, {"metadata": total, "weight_map": dict(sorted(places.items()))})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# Reading ------------------------------------------------------------------------------------------------------------------------------


def read_llama_config(folder: Path) -> ModelConfig:
    """The shape of a model in Llama format. Raises UserError for a model that ours can't be, and for a config.json that isn't one."""
    path = folder / CONFIG
    given = _read_json(path)
    _refuse_others(path, given)
    numbers = {key: _number(path, given, key) for key in _NUMBERS}
    heads, hidden = numbers["num_attention_heads"], numbers["hidden_size"]
    rope = given.get("rope_scaling") or given.get("rope_parameters") or {}
    # Older files have the theta beside the scaling, newer ones within; one that says nothing has transformers' default.
    theta = rope.get("rope_theta") or given.get("rope_theta") or 10_000.0
    return ModelConfig(
        hidden_size=hidden,
        layers=numbers["num_hidden_layers"],
        heads=heads,
        kv_heads=heads if given.get("num_key_value_heads") is None else _number(path, given, "num_key_value_heads"),
        head_dim=hidden // heads if given.get("head_dim") is None else _number(path, given, "head_dim"),
        intermediate_size=numbers["intermediate_size"],
        vocab_size=numbers["vocab_size"],
        tied=bool(given.get("tie_word_embeddings", False)),
        max_position_embeddings=numbers["max_position_embeddings"],
        rope_theta=float(theta),
        rope_scaling=_rope_scaling(path, rope),
        norm_eps=float(given.get("rms_norm_eps", 1e-6)),
    )


def _refuse_others(path: Path, given: dict[str, Any]) -> None:
    if given.get("model_type") != "llama" or given.get("architectures", ["LlamaForCausalLM"]) != ["LlamaForCausalLM"]:
        found = ", ".join(given.get("architectures") or [str(given.get("model_type"))])
        raise UserError(f"'{path}' describes a model of architecture {found}; only LlamaForCausalLM can be read")
    for key in ("attention_bias", "mlp_bias"):
        if given.get(key):
            raise UserError(f"'{path}' has {key}: true, and this model has no biases; use a checkpoint without")
    if given.get("hidden_act", "silu") != "silu":
        raise UserError(f"'{path}' has hidden_act: {given['hidden_act']}, and this model's activation is silu; use another checkpoint")
    if given.get("quantization_config"):
        raise UserError(f"'{path}' describes quantised weights; use the checkpoint that they were made from")


def _number(path: Path, given: dict[str, Any], key: str) -> int:
    value = given.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"'{path}' has {key}: {value}, and it must be a number above 0; correct it or copy the file again")
    return value


def _rope_scaling(path: Path, rope: dict[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise UserError(f"'{path}' scales rotary positions by '{kind}'; only 'default' and 'llama3' can be read")
    keys = [field.name for field in fields(RopeScaling)]
    absent = [key for key in keys if not isinstance(rope.get(key), (int, float))]
    if absent:
        raise UserError(f"the llama3 scaling of rotary positions in '{path}' lacks {absent[0]}; add it or copy the file again")
    factor, low, high, original = (rope[key] for key in keys)
    return RopeScaling(float(factor), float(low), float(high), int(original))


def read_eos_ids(folder: Path) -> frozenset[int]:
    """The ids that end a text, from config.json; none where it names none."""
    found = _read_json(folder / CONFIG).get("eos_token_id")
    return frozenset(found if isinstance(found, list) else [] if found is None else [found])


def load_decoder(folder: Path, dtype: torch.dtype, device: str = "cpu") -> Decoder:
    """A model in Llama format as a Decoder. Raises UserError as the two functions beside this one."""
    config = read_llama_config(folder)
    with torch.device("meta"):
        model = Decoder(config)
    model = model.to(dtype).to_empty(device=device)
    if config.tied:
        model.lm_head.weight = model.embed_tokens.weight  # type: ignore[assignment]  # making it empty parted them
    model.frequencies = frequencies(config)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in read_llama_tensors(folder, config):
            parameters[name].copy_(tensor)
    return model


def read_llama_tensors(folder: Path, config: ModelConfig | None = None) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter by its name in a Decoder, in the Decoder's order and the files' types, read one at a time.

    config: what read_llama_config says, if known. Names and shapes are checked before the first is read. Raises UserError for files other
    than safetensors, missing, extra or misshapen tensors, and a head of its own in a checkpoint that says it is tied.
    """
    config = config or read_llama_config(folder)
    shapes = parameter_shapes(config)
    places = _places(folder)
    missing = [llama_name(name) for name in shapes if llama_name(name) not in places]
    if missing:
        raise UserError(f"'{folder}' has no tensor {missing[0]}, which its config.json asks for; copy the checkpoint again")
    known = {llama_name(name) for name in shapes} | ({_HEAD} if config.tied else set())
    extra = [name for name in places if name not in known and not name.endswith("rotary_emb.inv_freq")]  # old Llama files store these
    if extra:
        raise UserError(f"'{folder}' has the tensor {extra[0]}, which no plain Llama has; use a plain Llama checkpoint")
    return _read(folder, shapes, places, config.tied)


def _read(folder: Path, shapes: dict[str, tuple[int, ...]], places: dict[str, str], tied: bool) -> Iterator[tuple[str, torch.Tensor]]:
    with _Files(folder) as files:
        wanted = [(places[llama_name(name)], llama_name(name), shape) for name, shape in shapes.items()]
        if tied and _HEAD in places:
            wanted.append((places[_HEAD], _HEAD, shapes["embed_tokens.weight"]))
        for file, name, shape in wanted:
            files.check(file, name, shape)
        if tied and _HEAD in places:
            embedding = llama_name("embed_tokens.weight")
            if not torch.equal(files.open(places[_HEAD]).get_tensor(_HEAD), files.open(places[embedding]).get_tensor(embedding)):
                raise UserError(
                    f"'{folder}' says tie_word_embeddings: true but holds an lm_head.weight unlike the embedding; correct its config.json"
                )
        for name in shapes:
            yield name, files.open(places[llama_name(name)]).get_tensor(llama_name(name))


class _Files:
    """Safetensors files of a folder, each opened once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, Any] = {}

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.clear()

    def open(self, name: str) -> Any:
        from safetensors import SafetensorError, safe_open

        if name not in self._opened:
            path = self._folder / name
            try:
                self._opened[name] = safe_open(path, framework="pt")
            except (OSError, SafetensorError) as error:
                raise UserError(f"'{path}' can't be read as safetensors ({error}); copy the checkpoint again") from error
        return self._opened[name]

    def check(self, file: str, name: str, shape: tuple[int, ...]) -> None:
        if name not in self.open(file).keys():  # noqa: SIM118 - it has keys() but is no mapping
            raise UserError(f"'{self._folder / file}' lacks the tensor {name} that the index places there; copy the checkpoint again")
        part = self.open(file).get_slice(name)
        if tuple(part.get_shape()) != shape:
            raise UserError(
                f"the tensor {name} of '{self._folder / file}' has shape {tuple(part.get_shape())}, and config.json means {shape}; "
                "they belong to different models, so copy the checkpoint again"
            )
        if part.get_dtype() not in ("F64", "F32", "F16", "BF16"):
            raise UserError(f"the tensor {name} of '{self._folder / file}' is of type {part.get_dtype()}; use a checkpoint of floats")


def _places(folder: Path) -> dict[str, str]:
    """File of each tensor, by its name in Llama's format."""
    if (folder / INDEX).exists():
        places = _read_json(folder / INDEX).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) and Path(name).name == name for name in places.values()):
            raise UserError(f"'{folder / INDEX}' has no weight_map of tensors to files beside it; copy the checkpoint again")
        return places
    if not (folder / WEIGHTS).exists():
        raise UserError(
            f"'{folder}' has no {WEIGHTS}, whole or in parts; give a checkpoint in safetensors (others can run code on loading)"
        )
    with _Files(folder) as files:
        return dict.fromkeys(files.open(WEIGHTS).keys(), WEIGHTS)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"'{path.parent}' has no {path.name}; give the folder of a model in Llama format") from None
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' can't be read as JSON ({error}); copy the checkpoint again") from error
    if not isinstance(content, dict):
        raise UserError(f"'{path}' is no JSON object; copy the checkpoint again")
    return content

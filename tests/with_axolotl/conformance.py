"""Runs Axolotl over a matrix of configurations and writes down everything it made.

    python conformance.py MAKE FOLDER                  the inputs: model, tokenizer, rows
    python conformance.py RUN FOLDER OUT ORDER CASE... one process: `stock`, `first` or `last`
    python conformance.py TRAIN FOLDER OUT ORDER CASE... the same without `axolotl preprocess`

`first` and `last` say when `fast_axolotl` is imported: before Axolotl or after it. The mode is that
of FAST_AXOLOTL_DISPATCH. OUT/result.json then has, for each case, the digest of every file of the
prepared folder, the fingerprints, the digests of the first 200 batches, the errors.
"""

import hashlib
import json
import os
import random
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

BATCHES = 200
SEQUENCE_LEN = 192
WORDS = [
    *("data", "row", "token", "batch", "pack", "pad", "hash", "the", "of", "and", "with", "from"),
    *("into", "that", "which", "Rust", "Python", "Axolotl", "naïve", "café", "größer", "数据"),
    *("日本語", "данные", "🦎", "'quoted'", '"double"', "back\\slash", "tab\tnew", "line\nend"),
]


# --- inputs ------------------------------------------------------------------------------------


def make(folder: Path) -> None:
    """Write a tiny model, a tokenizer trained on the rows, and the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(7)

    def text(least: int, most: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(least, most)))

    def write(name: str, rows: list[dict[str, Any]]) -> None:
        lines = [json.dumps(row, ensure_ascii=draw.random() < 0.5) for row in rows]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    alpaca = [
        {
            "instruction": text(2, 12),
            "input": text(0, 8) if i % 3 else "",
            "output": text(1, 40) if i % 11 else text(80, 140),
        }
        for i in range(420)
    ]
    for i in range(0, 420, 9):
        alpaca[i] = dict(alpaca[(i * 7) % 420])
    write("alpaca.jsonl", alpaca)
    write("alpaca_short.jsonl", [row for row in alpaca if len(row["output"].split()) < 15][:60])
    write("completion.jsonl", [{"text": text(5, 160)} for _ in range(260)])
    write(
        "chat.jsonl",
        [
            {
                "messages": [
                    {"role": role, "content": text(1, 20)}
                    for _ in range(draw.randint(1, 3))
                    for role in ("user", "assistant")
                ]
            }
            for _ in range(240)
        ],
    )
    pretokenized = []
    for i in range(260):
        ids = [draw.randrange(3, 200) for _ in range(draw.randint(1, 150))]
        labels = [-100] * len(ids) if i % 13 == 0 else [-100, *ids[1:]]
        pretokenized.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
    write("pretokenized.jsonl", pretokenized)
    write("masked.jsonl", [{**row, "labels": [-100] * len(row["labels"])} for row in pretokenized])
    write(
        "input_output.jsonl",
        [
            {
                "segments": [
                    {"label": bool(k % 2), "text": text(1, 12)} for k in range(draw.randint(2, 5))
                ]
            }
            for _ in range(200)
        ],
    )
    pairs = [
        {
            "system": text(1, 4),
            "question": text(2, 12),
            "chosen": text(1, 20),
            "rejected": text(1, 20),
        }
        for _ in range(150)
    ]
    write("pairs.jsonl", pairs + pairs[:20])
    prompts = [
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
        "### Input:\n### Response:\n<|im_start|>user assistant system<|im_end|>\n"
    ]
    _make_model(folder / "model", 40 * prompts + [" ".join(row.values()) for row in alpaca])


def _make_model(folder: Path, texts: list[str]) -> None:
    from tokenizer_of import byte_level_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_level_tokenizer(texts, 1500, unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    import torch

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def _dataset(name: str, kind: str | None, **more: Any) -> list[dict[str, Any]]:
    return [{"path": f"{name}.jsonl", "ds_type": "json", "type": kind, **more}]


def _streamed(name: str) -> list[dict[str, Any]]:
    files = [f"{name}.jsonl"]
    return [{"path": "json", "data_files": files, "type": "pretrain", "text_column": "text"}]


#: Name -> what its YAML has besides the common keys.
CASES: dict[str, dict[str, Any]] = {
    "alpaca": {"datasets": _dataset("alpaca", "alpaca")},
    "alpaca-packed-split": {
        "datasets": _dataset("alpaca", "alpaca"),
        "sample_packing": True,
        "val_set_size": 0.1,
        "dataset_num_proc": 2,
    },
    "alpaca-dedupe": {
        "datasets": _dataset("alpaca", "alpaca") + _dataset("alpaca_short", "alpaca"),
        "dataset_exact_deduplication": True,
        "sample_packing": True,
        "val_set_size": 40,
    },
    "alpaca-dedupe-eval": {
        "datasets": _dataset("alpaca", "alpaca"),
        "test_datasets": _dataset("alpaca_short", "alpaca", split="train"),
        "dataset_exact_deduplication": True,
        "dataset_num_proc": 2,
    },
    "alpaca-sequential": {
        "datasets": _dataset("alpaca", "alpaca"),
        "sample_packing": True,
        "sample_packing_sequentially": True,
        "curriculum_sampling": True,
        "pad_to_sequence_len": True,
        "micro_batch_size": 1,
    },
    "alpaca-workers": {
        "datasets": _dataset("alpaca_short", "alpaca"),
        "sample_packing": True,
        "dataloader_num_workers": 2,
        "micro_batch_size": 1,
    },
    "alpaca-raise": {
        "datasets": _dataset("alpaca", "alpaca"),
        "excess_length_strategy": "raise",
    },
    "alpaca-truncate": {
        "datasets": _dataset("alpaca", "alpaca"),
        "excess_length_strategy": "truncate",
        "group_by_length": True,
    },
    "alpaca-plugin": {
        "datasets": _dataset("alpaca", "alpaca"),
        "dataset_exact_deduplication": True,
    },
    "completion": {
        "datasets": _dataset("completion", "completion", field="text"),
        "sample_packing": True,
    },
    "nothing-to-train-on": {
        "datasets": _dataset("masked", None),
        "sample_packing": True,
    },
    "no-such-file": {"datasets": _dataset("missing", "alpaca")},
    "no-such-field": {"datasets": _dataset("completion", "alpaca")},
    "chat-template": {
        "datasets": _dataset("chat", "chat_template", field_messages="messages"),
        "chat_template": "chatml",
        "sample_packing": True,
        "val_set_size": 0.05,
        "group_by_length": False,
    },
    "pretokenized": {
        "datasets": _dataset("pretokenized", None),
        "sample_packing": True,
        "min_sample_len": 3,
    },
    "pretokenized-plain": {
        "datasets": _dataset("pretokenized", None),
        "pad_to_sequence_len": True,
        "val_set_size": 12,
    },
    "input-output": {"datasets": _dataset("input_output", "input_output")},
    "streaming-packed": {
        "pretraining_dataset": _streamed("completion"),
        "streaming": True,
        "max_steps": 40,
        "sample_packing": True,
        "pretrain_multipack_buffer_size": 64,
        "dataset_prepared_path": None,
    },
    "streaming-concatenated": {
        "pretraining_dataset": _streamed("completion"),
        "streaming": True,
        "max_steps": 40,
        "pretraining_sample_concatenation": True,
        "dataset_prepared_path": None,
    },
    "streaming-rows": {
        "pretraining_dataset": _streamed("completion"),
        "streaming": True,
        "max_steps": 40,
        "pretraining_sample_concatenation": False,
        "dataset_prepared_path": None,
    },
    "dpo": {
        "rl": "dpo",
        "datasets": _dataset("pairs", "chatml.intel", split="train"),
        "sequence_len": 256,
    },
    "dpo-dedupe": {
        "rl": "dpo",
        "datasets": _dataset("pairs", "chatml.intel", split="train"),
        "sequence_len": 256,
        "dataset_exact_deduplication": True,
        "val_set_size": 0.1,
        "dataset_num_proc": 2,
    },
}
#: What the YAML has besides where fast-axolotl runs; stock has the same without a plugin.
OURS: dict[str, dict[str, Any]] = {
    "alpaca-plugin": {
        "plugins": ["fast_axolotl.AxolotlPlugin"],
        "dataset_use_rust_streaming": True,
        "dedupe": True,
        "fast_axolotl": {"calibrate": os.environ.get("CONFORMANCE_CALIBRATE") == "1"},
    }
}
#: Case -> the errors of `axolotl preprocess` and of the start of a training, where stock has some.
ERRORS: dict[str, tuple[str, str]] = {
    "alpaca-raise": ("ValueError", "ValueError"),
    "nothing-to-train-on": ("ValueError", "ValueError"),
    "no-such-file": ("ValueError", "ValueError"),
    "no-such-field": ("KeyError", "KeyError"),
}

COMMON: dict[str, Any] = {
    "sequence_len": SEQUENCE_LEN,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "num_epochs": 1,
    "learning_rate": 1e-4,
    "optimizer": "adamw_torch",
    "lr_scheduler": "constant",
    "dataset_num_proc": 1,
    "val_set_size": 0.0,
    "seed": 42,
    "bf16": False,
    "fp16": False,
    "tf32": False,
    "attn_implementation": "eager",
    "dataloader_num_workers": 0,
    "special_tokens": {"pad_token": "<pad>"},
    "save_strategy": "no",
}


# --- one process -------------------------------------------------------------------------------


def run(folder: Path, out: Path, order: str, names: list[str], only_train: bool) -> None:
    """Run cases in this process."""
    begin = time.perf_counter()
    if order == "first":
        import fast_axolotl
    _without_metrics()
    from axolotl.cli.config import load_cfg
    from axolotl.cli.preprocess import do_preprocess
    from axolotl.common import datasets as common
    from axolotl.utils.trainer import setup_trainer

    if order == "last":
        import fast_axolotl
    import_seconds = time.perf_counter() - begin
    if "RANK" in os.environ:
        # Ranks ask CUDA whether they can speak to each other; gloo can.
        from axolotl.utils import trainer

        trainer.check_cuda_p2p_ib_support = lambda: True
    out.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    found: dict[str, Any] = {"import": import_seconds, "cases": {}}
    # Under torchrun each rank has its own.
    file = out / f"result{os.environ.get('RANK', '')}.json"
    for name in names:
        begin = time.perf_counter()
        result: dict[str, Any] = {}
        found["cases"][name] = result
        steps = (load_cfg, do_preprocess, common, setup_trainer)
        for step in (_train,) if only_train else (_preprocess, _train):
            _guarded(step, name, out, result, steps)
        result["seconds"] = time.perf_counter() - begin
        file.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if order != "stock":
        import fast_axolotl
        from fast_axolotl.axolotl import patching

        found["stats"] = fast_axolotl.stats()
        found["functions"] = fast_axolotl.dispatch.call.figures_by_function()
        found["applied"] = sorted(patching.applied)
        found["left_alone"] = patching.left_alone
    elif any(name.partition(".")[0] == "fast_axolotl" for name in sys.modules):
        raise SystemExit("stock ran with fast_axolotl")
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found["cpu"] = sum(used.ru_utime + used.ru_stime for used in spent)
    file.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _guarded(step: Any, name: str, out: Path, result: dict[str, Any], steps: Any) -> None:
    try:
        step(name, out, result, *steps)
    except Exception as error:  # compared with stock's
        found = [step.__name__, type(error).__name__, str(error)]
        result.setdefault("errors", []).append(found)
        if os.environ.get("CONFORMANCE_TRACEBACK"):
            traceback.print_exc()


def _without_metrics() -> None:
    # Axolotl's trainer wants this library for metrics of generated text; no batch depends on it.
    import importlib.util
    import types

    if importlib.util.find_spec("evaluate") is None:
        module = types.ModuleType("evaluate")
        module.load = lambda *_args, **_kwargs: None
        sys.modules["evaluate"] = module


def _config(name: str, out: Path, load_cfg: Any) -> Any:
    from axolotl.utils.dict import DictDefault

    case = {
        **COMMON,
        "base_model": "model",
        "dataset_prepared_path": str(out / "prepared" / name),
        "output_dir": str(out / "output" / name),
        **json.loads(json.dumps(CASES[name])),
        **(OURS.get(name, {}) if "fast_axolotl" in sys.modules else {}),
    }
    if "fast_axolotl" in sys.modules:
        _forget_the_plugin()
    return load_cfg(DictDefault(case))


def _forget_the_plugin() -> None:
    # Axolotl reads one YAML in a process; here one after the other is read.
    from axolotl.integrations.base import PluginManager

    from fast_axolotl.axolotl import settings

    PluginManager.get_instance().plugins.clear()
    settings.use(settings.Settings())


def _preprocess(
    name: str, out: Path, result: dict[str, Any], load_cfg: Any, do_preprocess: Any, *_: Any
) -> None:
    from axolotl.cli.args import PreprocessCliArgs

    if CASES[name].get("pretraining_dataset"):
        return
    _seed()
    os.environ["AXOLOTL_IS_PREPROCESS"] = "1"
    try:
        cfg = _config(name, out, load_cfg)
        cfg.is_preprocess = True
        begin = time.perf_counter()
        do_preprocess(cfg, PreprocessCliArgs())
        result["preprocess"] = time.perf_counter() - begin
    finally:
        del os.environ["AXOLOTL_IS_PREPROCESS"]
        result["files"] = files_of(out / "prepared" / name)


def files_of(folder: Path) -> dict[str, str]:
    """Return name -> digest of every file below a folder."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _train(
    name: str,
    out: Path,
    result: dict[str, Any],
    load_cfg: Any,
    _do_preprocess: Any,
    common: Any,
    setup: Any,
) -> None:
    _seed()
    cfg = _config(name, out, load_cfg)
    from axolotl.integrations.base import PluginManager

    load = common.load_preference_datasets if cfg.rl else common.load_datasets
    meta = PluginManager.get_instance().load_datasets(cfg, preprocess=False) or load(cfg=cfg)
    for split in ("train_dataset", "eval_dataset"):
        data = getattr(meta, split)
        result[split] = _of_dataset(data)
    result["steps"] = meta.total_num_steps
    from axolotl.loaders import load_tokenizer
    from transformers import LlamaForCausalLM

    trainer = setup(
        cfg,
        train_dataset=meta.train_dataset,
        eval_dataset=meta.eval_dataset,
        model=LlamaForCausalLM.from_pretrained("model"),
        tokenizer=load_tokenizer(cfg),
        processor=None,
        total_num_steps=meta.total_num_steps,
    )
    if cfg.sample_packing:
        # What Axolotl's model loader does for packing.
        from axolotl.monkeypatch.data.batch_dataset_fetcher import apply_multipack_dataloader_patch

        apply_multipack_dataloader_patch()
    begin = time.perf_counter()
    batches = []
    for number, batch in enumerate(trainer.get_train_dataloader()):
        if number == BATCHES:
            break
        batches.append(digest_of(batch))
    result["batches"] = batches
    result["batching"] = time.perf_counter() - begin
    if meta.eval_dataset is not None:
        result["eval_batches"] = [
            digest_of(batch)
            for _, batch in zip(range(20), trainer.get_eval_dataloader(), strict=False)
        ]


def _of_dataset(data: Any) -> Any:
    if data is None:
        return None
    return {
        "type": type(data).__name__,
        "fingerprint": getattr(data, "_fingerprint", None),
        "features": repr(data.features),
        "rows": len(data) if hasattr(data, "__len__") else None,
        "format": repr(getattr(data, "format", None)),
    }


def digest_of(value: Any) -> str:
    """Return a digest of a batch: keys, types, shapes, values."""
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()


def _feed(found: Any, value: Any) -> None:
    if hasattr(value, "items"):
        for key, item in value.items():
            found.update(f"{key!r}:".encode())
            _feed(found, item)
    elif isinstance(value, (list, tuple)):
        found.update(f"{type(value).__name__}{len(value)}".encode())
        for item in value:
            _feed(found, item)
    elif hasattr(value, "numpy"):
        found.update(f"{value.dtype}{tuple(value.shape)}{value.is_contiguous()}".encode())
        found.update(value.contiguous().numpy().tobytes())
    else:
        found.update(f"{type(value).__name__}{value!r}".encode())


def _seed() -> None:
    import numpy as np
    import torch

    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)


if __name__ == "__main__":
    if sys.argv[1] == "MAKE":
        make(Path(sys.argv[2]))
    else:
        target = Path(sys.argv[3]).resolve()
        names = sys.argv[5:] or list(CASES)
        run(Path(sys.argv[2]).resolve(), target, sys.argv[4], names, sys.argv[1] == "TRAIN")

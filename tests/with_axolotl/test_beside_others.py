"""Unsloth and Liger replace what is in the model; nothing of that is ours, in either order."""

import subprocess
import sys

import pytest

# Where they put their own: classes and functions of Transformers' models, of its trainer, of PEFT,
# and of torch's loss.
POINTS = """
import torch, transformers
from transformers.models.llama import modeling_llama as llama
from transformers import Trainer
import peft.tuners.lora.layer as lora
POINTS = [
    (llama, "LlamaRMSNorm"), (llama, "LlamaMLP"), (llama, "apply_rotary_pos_emb"),
    (llama.LlamaForCausalLM, "forward"), (llama.LlamaAttention, "forward"),
    (llama.LlamaDecoderLayer, "forward"), (torch.nn.functional, "cross_entropy"),
    (Trainer, "training_step"), (Trainer, "compute_loss"), (Trainer, "_inner_training_loop"),
    (lora.Linear, "forward"),
]
def theirs():
    import functools
    found = []
    for owner, name in POINTS:
        original = getattr(owner, name)
        if isinstance(original, type):
            replacement = type(original.__name__, (original,), {})
        else:
            replacement = functools.wraps(original)(lambda *a, _o=original, **k: _o(*a, **k))
        setattr(owner, name, replacement)
        found.append(replacement)
    return found
"""
OURS = """
import fast_axolotl
from fast_axolotl.calibration.axolotl import load_seams
load_seams()
from fast_axolotl.axolotl import patching
assert not patching.left_alone, patching.left_alone
"""
CHECK = """
assert [getattr(owner, name) for owner, name in POINTS] == replaced
ours = {(id(p.owner), p.name) for p in patching.applied.values()}
assert not ours & {(id(owner), name) for owner, name in POINTS}
for patch in patching.applied.values():
    place = getattr(patch.owner, "__module__", None) or patch.owner.__name__
    assert place.startswith(("axolotl.utils.", "axolotl.prompt_strategies.", "datasets.")), place
config = transformers.LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=16,
    num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
model = llama.LlamaForCausalLM(config)
ids = torch.tensor([[1, 2, 3]])
loss = model(input_ids=ids, labels=ids).loss
loss.backward()
compiled = torch.compile(model, backend="eager")
assert torch.allclose(compiled(input_ids=ids, labels=ids).loss, loss)
fast_axolotl.uninstall()
assert [getattr(owner, name) for owner, name in POINTS] == replaced
"""


@pytest.mark.parametrize(
    "parts",
    [(OURS, POINTS, "replaced = theirs()"), (POINTS, "replaced = theirs()", OURS)],
    ids=["ours first", "theirs first"],
)
def test_the_patches_of_others_stay(parts: tuple[str, ...]) -> None:
    code = "import sys\n" + "\n".join(parts) + CHECK
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]

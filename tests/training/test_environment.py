"""No variable that a library reads by itself changes a training's weights under one key, or breaks the training."""

import ast
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from tests.training.test_processes import TWO, adapter, compute, furthest
from tests.training.test_training import Start, files, settings
from tests.training.tiny import sums
from w2s_core.engine import Context
from w2s_core.models import load_model
from w2s_core.steps.train import _train
from w2s_core.training import environment, train, train_launched

FROM_ELSEWHERE = {
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_DYNAMO_BACKEND": "EAGER",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "3",
    "ACCELERATE_TORCH_DEVICE": "meta",
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "PARALLELISM_CONFIG_TP_SIZE": "2",
    "PMI_SIZE": "2",
    "PMI_RANK": "0",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "WORLD_SIZE": "2",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "192.0.2.1",
    "MASTER_PORT": "1",
    "TORCHELASTIC_RUN_ID": "x",
}
"""What a launcher, a cluster's scheduler or a shell's profile may leave."""


def step_in(start: Start, folder: Path) -> Path:
    """Train as a step does. Returns the folder of the result."""
    (folder / "out").mkdir(parents=True)
    context = Context(
        "key",
        folder / "out",
        folder / "work",
        {"bases": start[1], "device": "cpu"},
        lambda report: None,
        folder / "kept",
    )
    chosen = settings().model_dump(exclude={"method", "seed", "beta"})
    _train(context, start[0], [dict(row) for row in sums(16)], "sft", chosen, 0)
    return folder / "out/adapters"


def test_what_a_shell_leaves_changes_no_byte(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = files(step_in(start, tmp_path / "plain"))
    for name, value in FROM_ELSEWHERE.items():
        monkeypatch.setenv(name, value)
    assert files(step_in(start, tmp_path / "polluted")) == plain
    assert not {*FROM_ELSEWHERE} - {"ACCELERATE_MIXED_PRECISION"} & {*os.environ}


def test_a_training_in_bfloat16_leaves_the_next_one_in_float32(start: Start, tmp_path: Path) -> None:
    for name, precision in (("before", "float32"), ("between", "bfloat16"), ("after", "float32")):
        compute(train, start, tmp_path / name, settings(precision=precision, max_steps=2, epochs=None))
    before, between, after = (
        files(tmp_path / name / "out/adapters") for name in ("before", "between", "after")
    )
    assert before == after != between


@pytest.mark.slow
def test_launched_processes_take_the_precision_of_the_settings(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the shell or the config of accelerate's says."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(TWO.read_text()) | {"mixed_precision": "bf16"}))
    compute(train, start, tmp_path / "one", settings())
    for name, value in FROM_ELSEWHERE.items():
        monkeypatch.setenv(name, value)
    summary = compute(lambda *a, **k: train_launched(config, *a, **k), start, tmp_path / "two", settings())
    assert summary["processes"] == 2
    assert furthest(adapter(tmp_path / "one"), adapter(tmp_path / "two")) < 1e-5


def test_a_launchers_own_variables_stay_with_its_processes() -> None:
    told = {"RANK": "1", "WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "HOME": "/"}
    given = told | {
        "ACCELERATE_MIXED_PRECISION": "fp8",
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
        "PMI_RANK": "3",
    }
    environment.take_out_settings(given, launched=True)
    assert given == told
    environment.take_out_settings(given)
    assert given == {"HOME": "/"}


def test_products_are_not_rounded_to_tf32(start: Start) -> None:
    torch.set_float32_matmul_precision("high")
    load_model(*start)
    assert torch.get_float32_matmul_precision() == "highest"


CHANGES_NO_WEIGHT = {
    "places of files, and the hub": (
        "HF_", "HUGGINGFACE_", "XDG_", "TMP", "TEMP", "TMPDIR", "CUDA_HOME", "CUDA_PATH", "AWS_REGION",
        "TRAINING_JOB_ARN", "ECS_", "TORCH_HUB", "TORCH_MODEL_ZOO", "TRUST_REMOTE_CODE", "GITHUB_TOKEN",
    ),
    "trackers, which trainings do not use (report_to: none)": (
        "WANDB_", "MLFLOW_", "COMET_", "CLEARML_", "SWANLAB_", "TENSORBOARD_", "KUBEFLOW_", "DISABLE_KUBEFLOW_",
        "DISABLE_MLFLOW_", "NEPTUNE_", "BRANCH", "RAY_SCOPE", "DATABRICKS_", "FLYTE_", "DAGSHUB_", "ONEFLOW_",
    ),
    "what is logged or shown": (
        "DATASETS_VERBOSITY", "TRANSFORMERS_VERBOSITY", "TRANSFORMERS_NO_ADVISORY_WARNINGS", "NETWORK_DEBUG_",
        "TQDM_", "VSCODE_PID", "VLLM_LOGGING_LEVEL", "TRL_EXPERIMENTAL_SILENCE", "JOB_ID", "CI", "CI_",
    ),
    "tests and checks of the libraries' own": (
        "PYTEST_", "RUN_", "TRANSFORMERS_TEST_", "TRANSFORMERS_IS_CI", "TRANSFORMERS_DISABLE_TORCH_CHECK",
        "SKIP_CUDA_DOCTEST", "_INSIDE_SUB_PROCESS", "_PATCHED_TESTING_METHODS_OUTPUT_DIR",
        "TORCH_COMPILE_FORCE_FULLGRAPH", "USE_TF", "USE_JAX", "USE_TORCH", "NPROC",
    ),
    "threads and the way of messages: another order of sums at most": (
        "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "NCCL_",
    ),
    "kernels and hardware that no training here uses (attention is sdpa)": (
        "FLASH_ATTENTION_DETERMINISTIC", "NPU_", "USE_HUB_KERNELS", "TRANSFORMERS_DISABLE_DEEPGEMM_LINEAR",
        "PYTORCH_CNDEV_BASED_MLU_CHECK", "OPENREWARD_API_KEY",
    ),
}  # fmt: skip
"""Names, and beginnings that end in an underscore, by the reason why they may stay."""
TORCHS_OWN = (
    "TORCH_", "TORCHDYNAMO_", "TORCHINDUCTOR_", "TORCHEXPORT_", "PYTORCH_", "CUDA_", "CUDNN_LIBRARY", "FX_", "DCP_",
    "KINETO_", "ENABLE_PYTORCH_", "FR_TRACE_", "LTC_", "ROCR_", "HIP_", "ROCM_", "ROCSHMEM_", "NVSHMEM_",
    "NVTOOLSEXT_PATH", "CONDA_PREFIX", "MAST_HPC_JOB_NAME", "NPY_AVAILABLE_MEM",
    "PATH", "ZE_", "_SPLITTER_", "IS_FBCODE", "LD_", "LOGLEVEL", "PROGRAMFILES", "PYTHON_EXEC", "SYSTEMROOT",
    "USE_LIBUV",
    "VIRTUAL_ENV", "OMP_NUM_THREADS", "XDG_",
)  # fmt: skip
"""Compilers, which start where a caller or ACCELERATE_DYNAMO_ asks; tools; devices; how processes find each other."""
UNUSED_PARTS = {
    "torch": {
        "_appdirs",
        "_dynamo",
        "_export",
        "_functorch",
        "_inductor",
        "_strobelight",
        "_vendor",
        "export",
        "onnx",
    }
    | {"testing", "utils"},
    "transformers": {"models"},
    "accelerate": {"test_utils", "commands"},
}
READERS = {"getenv", "parse_flag_from_env", "parse_choice_from_env", "get_int_from_env", "env_flag"}


@pytest.mark.parametrize(
    "library",
    ["accelerate", "transformers", "peft", "trl", "datasets", pytest.param("torch", marks=pytest.mark.slow)],
)
def test_each_variable_that_a_library_reads_is_taken_out_or_known_to_change_no_weight(library: str) -> None:
    known = [name for names in CHANGES_NO_WEIGHT.values() for name in names]
    known += TORCHS_OWN if library == "torch" else ()
    names = names_read_by(library)
    assert len(names) > 2 or library in ("peft", "trl")
    open_names = {
        name
        for name in names
        if not environment.is_taken_out(name) and not environment._matches(name, tuple(known))
    }
    assert not open_names, "decide: take it out, or say why it changes nothing"


def names_read_by(library: str) -> set[str]:
    spec = importlib.util.find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    names: set[str] = set()
    for path in root.rglob("*.py"):
        if path.relative_to(root).parts[0] not in UNUSED_PARTS.get(library, ()):
            text = path.read_text(encoding="utf-8", errors="replace")
            if "environ" in text or "getenv" in text or "_from_env" in text:
                names |= {name for name in variables(ast.parse(text)) if name.strip("_").isupper()}
    return names


def variables(tree: ast.AST) -> Iterator[str]:
    """Names in reads such as os.environ["X"], os.environ.get("X"), "X" in os.environ, parse_flag_from_env("X").

    Of `prefix + "X"` it is the prefix, a constant of the same file, that counts.
    """
    prefixes = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    for expression in filter(None, map(name_expression, ast.walk(tree))):
        if isinstance(expression, ast.BinOp) and isinstance(expression.left, ast.Name):
            yield prefixes.get(expression.left.id, f"UNKNOWN {expression.left.id}")
            continue
        for node in ast.walk(expression):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.Name) and node.id in prefixes:
                yield prefixes[node.id]


def name_expression(node: ast.AST) -> ast.expr | None:
    """The expression that names the variable, where this node reads one."""
    if isinstance(node, ast.Subscript) and is_environment(node.value) and isinstance(node.ctx, ast.Load):
        return node.slice
    if isinstance(node, ast.Compare) and any(map(is_environment, node.comparators)):
        return node.left
    if isinstance(node, ast.Call) and node.args:
        function = node.func
        if isinstance(function, ast.Attribute) and is_environment(function.value):
            return node.args[0] if function.attr in ("get", "setdefault") else None
        if (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")) in READERS:
            return node.args[0]
    return None


def is_environment(node: ast.expr) -> bool:
    return ast.unparse(node) in ("os.environ", "environ")

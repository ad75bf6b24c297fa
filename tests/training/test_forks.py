"""Under a constant rate a training passes through the shorter ones: it starts from their state, and ends with the bytes
of a straight one.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from tests.training.test_resume import Stopped, stop_at
from tests.training.test_training import METHODS, Start, files, settings
from tests.training.tiny import rows_for
from w2s_core.training import Site, TrainSettings, train
from w2s_core.training.examples import plan_batches

ROWS = 40


def job(method: str, steps: int, **change: Any) -> TrainSettings:
    """So many steps after a warm-up of three, with dropout where the method has it."""
    chosen = {
        "epochs": None,
        "max_steps": steps,
        "scheduler": "constant",
        "warmup_steps": 3,
        "lora_dropout": 0.2,
    }
    return settings(method, **chosen | change)


class Store:
    """A folder in which trainings keep their states, each under a key of its own."""

    def __init__(self, start: Start, root: Path) -> None:
        self.start, self.root, self.warnings = start, root, list[str]()

    def train(self, key: str, chosen: TrainSettings, **extra: Any) -> tuple[list[int], dict[str, Any]]:
        """Train under a key. Returns the steps that were taken, and the summary."""
        steps: list[int] = []
        stop = extra.pop("progress", None)

        def progress(done: int, total: int, **note: Any) -> None:
            if done:
                steps.append(done)
            if stop:
                stop(done, total)

        shutil.rmtree(self.root / key / "out", ignore_errors=True)
        (self.root / key / "out").mkdir(parents=True)
        site = Site(
            self.start[1],
            self.root / key / "out",
            self.root / key / "work",
            kept=lambda name: self.root / "kept" / name.replace("/", "-")[:200] / key,
            warn=self.warnings.append,
            **extra,
        )
        return steps, train(self.start[0], rows_for(chosen.method, ROWS), chosen, site, progress)

    def out(self, key: str) -> dict[str, bytes]:
        return files(self.root / key / "out")

    def states(self) -> list[Path]:
        return sorted(self.root.glob("kept/*/*/checkpoint-*"))


@pytest.fixture
def store(start: Start, tmp_path: Path) -> Store:
    return Store(start, tmp_path / "store")


@pytest.fixture(scope="module")
def straight(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The files of a training of 27 steps that nothing came before, by method."""
    made: dict[str, dict[str, bytes]] = {}

    def of(method: str) -> dict[str, bytes]:
        if method not in made:
            alone = Store(start, tmp_path_factory.mktemp("straight"))
            assert alone.train("alone", job(method, 27))[0] == list(range(1, 28))
            made[method] = alone.out("alone")
        return made[method]

    return of


@pytest.mark.parametrize(
    "method", ["dpo", *(pytest.param(name, marks=pytest.mark.slow) for name in METHODS if name != "dpo")]
)
def test_one_chain_gives_the_results_of_straight_trainings(store: Store, straight: Any, method: str) -> None:
    store.train("a", job(method, 13))
    steps, summary = store.train("b", job(method, 27))
    assert steps == list(range(11, 28))
    assert summary["extends"] == {"key": "a", "steps": 13, "from_step": 10, "to": 27}
    assert store.out("b") == straight(method)
    steps, summary = store.train("c", job(method, 30))
    assert (steps[0], summary["extends"]["key"]) == (21, "b")


def test_a_chain_of_epochs_ends_in_part_of_a_batch(store: Store, start: Start, tmp_path: Path) -> None:
    """2.5 and 5.3 epochs of 40 rows in batches of 6: the last step of the shorter one is none of the longer one's."""
    change = {"max_steps": None, "batch_size": 6}
    short, long = (job("sft", 1, epochs=epochs, **change) for epochs in (2.5, 5.3))
    steps, _ = store.train("a", short)
    assert len(steps) == 17
    assert store.train("b", long)[0][0] == 11
    alone = Store(start, tmp_path / "alone")
    alone.train("b", long)
    assert store.out("b") == alone.out("b")


@pytest.mark.parametrize("stop", [5, 16, 23])
def test_a_killed_one_goes_on(store: Store, straight: Any, stop: int) -> None:
    """At step 5 of the short one, and of the long one with and without a checkpoint of its own."""
    short = job("sft", 13)
    if stop < 13:
        with pytest.raises(Stopped):
            store.train("a", short, progress=stop_at(stop), checkpoint_s=0.0)
    store.train("a", short)
    if stop > 13:
        with pytest.raises(Stopped):
            store.train("b", job("sft", 27), progress=stop_at(stop), checkpoint_s=0.0)
    (store.root / "b/work/checkpoint-10.writing").mkdir(
        parents=True, exist_ok=True
    )  # a copy that a kill tore
    (store.root / "b/work/checkpoint-10.writing/checkpoint.json").write_text("{")
    steps, summary = store.train("b", job("sft", 27))
    assert steps[0] == (21 if stop == 23 else 11)
    assert summary["extends"]["key"] == "a"
    assert store.out("b") == straight("sft")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def turn_a_digit(path: Path) -> None:
    """The record of what was logged, still JSON."""
    text = path.read_text()
    place = text.index('"loss": ') + 10
    path.write_text(f"{text[:place]}{9 - int(text[place])}{text[place + 1 :]}")


DAMAGES = {
    "tensors": ("state.safetensors", cut),
    "state": ("trainer_state.json", cut),
    "record": ("checkpoint.json", cut),
    "digit": ("checkpoint.json", turn_a_digit),
    "gone": ("state.safetensors", Path.unlink),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_reported_and_not_used(store: Store, straight: Any, damage: str) -> None:
    store.train("a", job("sft", 13))
    (state,) = store.states()
    name, harm = DAMAGES[damage]
    harm(state / name)
    steps, summary = store.train("b", job("sft", 27))
    assert steps[0] == 1
    assert "extends" not in summary
    assert store.out("b") == straight("sft")
    (warning,) = store.warnings
    assert warning == "the kept training state of a at step 10 is damaged; it is not used"
    assert not state.exists()


OTHERS = {
    "rate": {"learning_rate": 2e-3},
    "warm-up": {"warmup_steps": 4},
    "seed": {"seed": 1},
    "batch": {"batch_size": 4},
    "cosine": {"scheduler": "cosine"},
}


@pytest.mark.parametrize("change", OTHERS)
def test_only_the_same_training_is_extended(store: Store, change: str) -> None:
    store.train("a", job("sft", 13))
    assert store.train("b", job("sft", 14, **OTHERS[change]))[0][0] == 1


def test_another_number_of_threads_or_rows_at_once_is_another_training(store: Store) -> None:
    from w2s_core.models.machine import Threads

    store.train("a", job("sft", 13), threads=Threads(1, 1))
    assert store.train("b", job("sft", 14), threads=Threads(2, 2))[0][0] == 1
    assert store.train("c", job("sft", 14), threads=Threads(1, 1), micro_batch=4)[0][0] == 1
    assert store.train("d", job("sft", 14), threads=Threads(1, 1))[0][0] == 11


def test_a_schedule_that_knows_its_end_keeps_nothing(store: Store) -> None:
    store.train("a", job("sft", 13, scheduler="linear"))
    assert store.states() == []


@pytest.mark.parametrize("rows", [5, 16, 40, 43])
def test_the_order_of_rows_does_not_hang_on_the_end(rows: int) -> None:
    lengths = [7 * i % 11 for i in range(rows)]
    longest = plan_batches(lengths, job("sft", 300))
    for steps in (1, 10, 75, 150, 299):
        plan = plan_batches(lengths, job("sft", steps))
        assert plan.order == longest.order[: len(plan.order)]
        assert plan.past(plan.full_steps) == longest.past(steps)


def test_the_reference_is_computed_once_for_all_betas(store: Store, start: Start, tmp_path: Path) -> None:
    chosen = [settings("dpo", beta=beta, learning_rate=rate) for beta, rate in ((0.1, 1e-2), (0.5, 1e-3))]
    notes: list[str] = []
    kept = {"kept": lambda name: tmp_path / "kept" / name[:40].replace("/", "-") / f"{len(notes)}"}
    for number, one in enumerate(chosen):
        for where, extra in (("shared", kept), ("alone", {})):
            (tmp_path / f"{where}{number}").mkdir()
            site = Site(start[1], tmp_path / f"{where}{number}", tmp_path / f"work-{where}{number}", **extra)  # type: ignore[arg-type]
            train(start[0], rows_for("dpo", ROWS), one, site, lambda *_, **told: notes.append(told["note"]))
            notes.append(where)
        assert files(tmp_path / f"shared{number}") == files(tmp_path / f"alone{number}")
    references = [note for note in notes if note.startswith("reference")]
    alone = [note for note in notes[: notes.index("shared")] if note.startswith("reference")]
    assert len(references) == 3 * len(alone), "two straight trainings and the first of those that share"
    (tmp_path / "kept").rename(tmp_path / "kept-before")
    assert len(list((tmp_path / "kept-before").rglob("reference.json"))) == 1


def test_a_base_is_loaded_once_and_never_changed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adapters are trained and merged on views: the kept weights stay, and results are those of fresh loading."""
    from w2s_core.models import load_model, resident

    loads: list[str] = []
    plain = AutoModelForCausalLM.from_pretrained

    def counted(source: str, *args: Any, **kwargs: Any) -> Any:
        loads.append(source)
        return plain(source, *args, **kwargs)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", counted)

    def chain(folder: Path) -> None:
        model = start[0]
        for method in METHODS:
            (folder / method).mkdir(parents=True)
            site = Site(start[1], folder / method, folder / "work" / method)
            train(model, rows_for(method, 16), settings(method, max_steps=3, epochs=None), site)
            model = folder / method
            if folder.name == "fresh":
                resident.forget()

    def weights() -> dict[Any, bytes]:
        return {
            name: b"".join(weight.numpy().tobytes() for weight in model.state_dict().values())
            for name, model in resident._kept.items()
        }

    resident.forget()
    chain(tmp_path / "fresh")
    fresh = len(loads)
    load_model(*start)
    before = weights()
    chain(tmp_path / "kept")
    assert fresh == 3
    assert len(loads) == fresh + 1
    after = weights()
    assert before.items() <= after.items()
    assert len(after) == 3, "the base, and what each later training started from"
    assert files(tmp_path / "kept") == files(tmp_path / "fresh")
    resident.forget()


def test_a_model_over_the_limit_is_not_kept(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from w2s_core.models import load_model, resident

    resident.forget()
    monkeypatch.setattr(resident, "limit", lambda: 10)
    load_model(*start)
    assert not resident._kept


def test_threads_follow_the_base_and_what_the_user_gave(start: Start) -> None:
    import torch

    from w2s_core.models import load_model
    from w2s_core.models.machine import LARGE, Threads, choose_threads, cores

    assert choose_threads(None, 1) == (1, cores())
    assert choose_threads(None, 1000) == (1, 1)
    assert choose_threads(3, 2) == (3, 3)
    assert [Threads(1, 5).of(size) for size in (LARGE - 1, LARGE)] == [1, 5]
    before = torch.get_num_threads()
    try:
        load_model(*start, threads=Threads(3, 4))
        assert torch.get_num_threads() == 3
        load_model(*start, threads=Threads(1, 4))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)

"""The failure signatures of the method as rules over one run, in the order of the method.

The limits and the smallest effects that matter are our choice, the paper gives none. Gold answers are read for this
only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from w2s_analysis.parts.rules import Claim, Finding, Limit, Measured, Rule, judge, measure
from w2s_analysis.reading.contrasts import difference
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.groups import Group, default_split, make_groups
from w2s_analysis.reading.results import StoreLike
from w2s_analysis.weak_to_strong import diagnose_measures as measures
from w2s_analysis.weak_to_strong.calibration import VOTE, interval_of
from w2s_analysis.weak_to_strong.stage_two import side_right
from w2s_analysis.weak_to_strong.titles import METHODS, iterations, method_name
from w2s_core.statistics import Estimate

STAGE_ONE: Final = "Stage I underperforms"
STAGE_TWO: Final = "Stage II degrades"
NO_GAIN: Final = "No gain over the floor"

# Which way beta keeps a method near M_plus: DPO's holds it there, and ORPO's weighs the preference. CPO's and SimPO's
# scale margins without a reference: a larger one is content with smaller margins.
_AWAY: Final = {"dpo": "raise", "orpo": "lower", "cpo": "raise", "simpo": "raise"}
_UNTRAINED: Final = {"method": "METHOD", "title": "Stage II", "label": "Stage II", "beta": "change"}
_NO_ITERATION: Final = "the iteration before"


@dataclass(frozen=True)
class Case:
    """One run, and what the texts of rules may name of it.

    Names: `agreed` and `side` (the last agreement and its weak side), `m_plus`, `before` (hybrid-ft of the iteration
    before), `split`; where a rule is for a method of Stage II, `method`, its `title` and `label`, and which way its
    `beta` goes. `losses` are those of the method's training, earlier and later half.
    """

    group: Group
    names: Mapping[str, str]
    losses: tuple[float, float] | None = None

    def gain(self, second: str, first: str) -> Estimate | None:
        """The difference of two methods, each by its key in `names` or by its own name."""
        return difference([self.group], self.names.get(second, second), self.names.get(first, first))


def _noted(effect: Estimate | None, note: str) -> Measured:
    return Measured([Claim("", effect)], note=note)


def _over_fitting(case: Case) -> Measured:
    """Over-fitting needs a training loss that falls: a loss that does not is another trouble."""
    effect = case.gain("method", "m_plus")
    if case.losses is None:
        return Measured([Claim("", effect, condition=None)], note="training loss not recorded")
    earlier, later = case.losses
    claim = Claim("", effect, condition=later < earlier)
    return Measured([claim], note=f"training loss {earlier:.3g}, then {later:.3g}")


STAGE_ONE_RULES: Final[tuple[Rule[Case], ...]] = (
    Rule(
        "the strong model cannot answer in context", "the share of train_2 that D_icl answers right",
        Limit(0.10, "percent", above=False, why="agreement then keeps next to nothing, and that by chance"),
        lambda case: _noted(measures.in_context(case.group), measures.unread_in_context(case.group)),
        family=STAGE_ONE, needs=("labels/icl_0",), empty="no question was asked",
        advice="the method elicits what the strong model can do already: take another strong model (strong), warm it "
        "up on texts of this kind first, or show more (shots); see whether its answers are cut off (max_new_tokens). "
        "Another weak model does not help here",
    ),
    Rule(
        "agreement is too rare", "the share of train_2 that the last agreement ({agreed}) keeps",
        Limit(0.15, "percent", above=False, why="fewer rows than that teach little"),
        lambda case: measures.agreement(case.group), family=STAGE_ONE,
        needs=("labels/{agreed}", "labels/{side}"), empty="no question was asked",
        advice="lower stage1.consistency with more answers a side (stage1.samples), or, where the strong "
        "model does answer in context, take a better weak model (weak)",
    ),
    Rule(
        "agreement is precise on easy questions only",
        "precision of the labels of {agreed} on the easier half of the levels minus that on the harder half",
        Limit(0.10, why="1 label in 10 more is then wrong where there is most to learn"),
        lambda case: measures.purity_gap(case.group), family=STAGE_ONE,
        needs=("labels/{agreed}",), empty="fewer than two levels, or no label is kept in one half of them",
        advice="raise stage1.consistency for purer labels, or add iterations (stage1.iterations)",
    ),
    Rule(
        "agreement keeps easy questions only",
        "the share kept by {agreed} of the harder half of the levels over that of the easier half",
        Limit(1 / 3, "ratio", above=False, why="of halves of one size, the hard one then gives under 1 row in 4"),
        lambda case: measures.hard_over_easy(case.group), family=STAGE_ONE,
        needs=("labels/{agreed}", "labels/{side}"),
        empty="fewer than two levels, or nothing is kept of the easier half",
        advice="add iterations (stage1.iterations), which reach harder questions, or lower stage1.consistency with "
        "several answers a side (stage1.samples)",
    ),
    Rule(
        "both sides make the same errors",
        "where both first answers are wrong, how often they are the same, beyond chance within a level",
        Limit(0.20, why="agreement then lets 1 in 5 of these errors pass beyond chance"),
        lambda case: measures.shared_errors(case.group), family=STAGE_ONE,
        needs=("labels/weak_0", "labels/icl_0"), empty="the two sides are never both wrong",
        advice="take a weak model of another family (weak) or other demonstrations (seed, shots): agreement cannot "
        "filter shared errors",
    ),
    Rule(
        "the last iteration loses accuracy", "{m_plus} minus {before} on {split}",
        Limit(above=False, smallest=0.01, why="for less, an iteration fewer is a matter of cost"),
        lambda case: case.gain("m_plus", "before"), family=STAGE_ONE,
        needs=("greedy/{split}/{m_plus}", "greedy/{split}/{before}"), empty="no question was graded",
        advice="stop an iteration earlier (stage1.iterations), or train less (sft.max_steps, sft.learning_rate)",
    ),
)  # fmt: skip

STAGE_TWO_RULES: Final[tuple[Rule[Case], ...]] = (
    Rule(
        "the vote is miscalibrated", "the vote's mean confidence minus its accuracy on train_2",
        Limit(0.10, both=True, why="one vote of ten, the step of the thresholds"),
        lambda case: _noted(interval_of(case.group, VOTE, "overconfidence"), measures.calibration_error(case.group)),
        family=STAGE_TWO, needs=("vote",), empty="no question has a vote",
        advice="too sure: raise stage2.keep and stage2.flip, or draw more votes (stage2.samples)",
        advice_below="not sure enough: lower stage2.keep and stage2.flip, which drop questions whose majority is "
        "right",
    ),
    Rule(
        "confidence does not tell right from wrong", "AUROC of the vote's confidence on train_2",
        Limit(0.65, "ratio", above=False, why="fewer than 2 pairs in 3 are then in the right order, by chance 1 in 2"),
        lambda case: _noted(interval_of(case.group, VOTE, "auroc"), measures.kept_and_dropped(case.group)),
        family=STAGE_TWO, needs=("vote",), empty="all votes are right, or all wrong",
        advice="stage2.keep and stage2.flip choose little by such a confidence: draw more votes (stage2.samples), or "
        "strengthen Stage I first",
    ),
    Rule(
        "the chosen side is often wrong", "the share of pairs whose chosen side is wrong",
        Limit(0.25, "percent", why="1 pair in 4 then teaches a wrong response"),
        lambda case: measures.chosen_wrong(case.group), family=STAGE_TWO,
        needs=("pairs", "labels/pairs_chosen"), empty="no pair was made",
        advice="raise stage2.keep and stage2.flip: surer majorities",
    ),
    Rule(
        "the rejected side is often right", "the share of pairs whose rejected side is right",
        Limit(0.25, "percent", why="1 pair in 4 then teaches against a right response"),
        lambda case: side_right(case.group, "rejected"), family=STAGE_TWO,
        needs=("pairs", "labels/pairs_rejected"), empty="no pair was made",
        advice="raise stage2.flip: reject the weak response only against surer majorities",
    ),
    Rule(
        "pairs differ in length", "mean words of the chosen sides over those of the rejected ones",
        Limit(1.2, "ratio", both=True, why="a fifth more words is a difference that training can learn"),
        lambda case: measures.pair_lengths(case.group), family=STAGE_TWO,
        needs=("pairs",), empty="no pair was made",
        advice="preference training may learn length: fewer epochs or a lower learning_rate in stage2, "
        "and see whether responses change in length",
    ),
)  # fmt: skip

TRAINING_RULES: Final[tuple[Rule[Case], ...]] = (
    Rule(
        "{label}: responses change in length",
        "mean tokens of {title}'s responses over those of M_plus's on {split}",
        Limit(1.2, "ratio", both=True, why="the same fifth as for the pairs"),
        lambda case: measures.response_lengths(case.group, case.names["method"]),
        family=STAGE_TWO, needs=("greedy/{split}/{method}", "greedy/{split}/{m_plus}"),
        empty="the lengths of the responses were not kept",
        advice="lower stage2.{method}.learning_rate, or {beta} stage2.{method}.beta",
    ),
    Rule(
        "{label}: over-fitting", "{title} minus M_plus on {split}",
        Limit(above=False, smallest=0.01, why="for less, a shorter training is a matter of cost"), _over_fitting,
        family=STAGE_TWO, needs=("greedy/{split}/{method}", "greedy/{split}/{m_plus}"),
        empty="no question was graded",
        condition="while the training loss of the later half of the steps lies below that of the earlier half",
        advice="train less: lower stage2.{method}.epochs or stage2.{method}.learning_rate",
    ),
)  # fmt: skip
"""Once for each method of Stage II."""

GAIN_RULES: Final[tuple[Rule[Case], ...]] = (
    Rule(
        "the strong model learns nothing", "M_plus ({m_plus}) minus the weak floor on {split}",
        Limit(0.02, above=False, why="less is no return for the trainings of Stage I"),
        lambda case: case.gain("m_plus", "weak_floor"), family=NO_GAIN,
        needs=("greedy/{split}/{m_plus}", "greedy/{split}/weak_floor"), empty="no question was graded",
        advice="the weak model may be too weak (weak, weak_sft.max_steps) or the training too short (sft.max_steps, "
        "sft.learning_rate): see full weak FT and weak ICL in `w2s show`",
    ),
    Rule(
        "training falls behind prompting", "M_plus ({m_plus}) minus weak ICL on {split}",
        Limit(above=False, smallest=0.01, why="for less, to prompt or to train is a matter of cost"),
        lambda case: case.gain("m_plus", "weak_icl"), family=NO_GAIN,
        needs=("greedy/{split}/{m_plus}", "greedy/{split}/weak_icl"), empty="no question was graded",
        advice="few-shot answers alone do better: keep more labels (stage1.consistency, stage1.iterations) or change "
        "the training (sft.max_steps, sft.learning_rate)",
    ),
)  # fmt: skip
RULES: Final = (*STAGE_ONE_RULES, *STAGE_TWO_RULES, *TRAINING_RULES, *GAIN_RULES)


def diagnose(store: StoreLike, run: str) -> list[Finding]:
    """Every rule applied to a run, in the order of the method.

    Raises:
        UserError: no such run, or results that cannot be read.
    """
    frames = load_frames(store, [run])
    [group] = make_groups(frames, default_split(frames))
    names, steps = _names(group), frames.records[run].get("steps")
    cases = [(rule, Case(group, names)) for rule in (*STAGE_ONE_RULES, *STAGE_TWO_RULES)]
    for method in [method for method in METHODS if method in group.planned()] or [""]:
        of_method = names | (_method_names(method) if method else _UNTRAINED)
        case = Case(group, of_method, measures.loss_halves(store, steps, f"prefer:{method}"))
        cases += [(rule, case) for rule in TRAINING_RULES]
    cases += [(rule, Case(group, names)) for rule in GAIN_RULES]
    named = [(rule.named(case.names), case) for rule, case in cases]
    return judge([measure(rule, case, _absent(rule, case)) for rule, case in named], corrected=False)


def _names(group: Group) -> dict[str, str]:
    numbers = [name.removeprefix("agreed_") for name in group.sets() if name.startswith("agreed_")]
    agreed = (
        f"agreed_{max((int(number) for number in numbers if number.isdecimal()), default=1)}"  # there or not
    )
    last = max(1, iterations(group))
    before = f"hybrid_ft_{last - 1}" if last > 1 else _NO_ITERATION
    names = {"agreed": agreed, "side": measures.weak_side(agreed), "m_plus": f"hybrid_ft_{last}"}
    return names | {"before": before, "split": group.split}


def _method_names(method: str) -> dict[str, str]:
    return {"method": method, "title": method_name(method), "label": METHODS[method], "beta": _AWAY[method]}


def _absent(rule: Rule[Case], case: Case) -> str:
    """Why a rule cannot be applied: which targets the run does not have, or not yet; empty where it has all."""
    group = case.group
    if case.names.get("method") == _UNTRAINED["method"]:
        return "the run trains no method of Stage II (stage2.methods)"
    if any(label.endswith(_NO_ITERATION) for label in rule.needs):
        return "the run has one iteration of Stage I (stage1.iterations)"
    if unplanned := [label for label in rule.needs if label not in group.labels]:
        return f"the run has no target {', '.join(unplanned)}"
    if missing := [label for label in rule.needs if not group.having(label)]:
        return f"not computed yet, or damaged: {', '.join(missing)}; the run's command goes on with it"
    return ""

"""The rules of `w2s diagnose`: each names a quantity, a limit, what it needs of a run, and what to try.

Where the quantity's whole 95 % interval lies beyond the limit, the signature is shown; where it lies on the other side,
it is not shown; where it holds the limit, that is not resolved. The limits are our choice, the paper gives none.

Texts may name `{agreed}` and `{side}` (the last agreement and its weak side), `{m_plus}`, `{before}` (hybrid-ft of the
iteration before), `{split}`, and in Stage II `{method}`, its `{title}` and `{label}`, and which way its `{beta}` goes.
"""

from dataclasses import dataclass
from math import isnan
from typing import Final, Literal

Verdict = Literal["shown", "not shown", "not resolved", "no data"]
VERDICTS: Final[tuple[Verdict, ...]] = ("shown", "not resolved", "not shown", "no data")
STAGE_ONE: Final = "Stage I underperforms"
STAGE_TWO: Final = "Stage II degrades"
NO_GAIN: Final = "No gain over the floor"
FAMILIES: Final = (STAGE_ONE, STAGE_TWO, NO_GAIN)


@dataclass(frozen=True)
class Rule:
    """One signature.

    Attributes:
        signature: what goes wrong, in a few words.
        quantity: what is measured, as the sentence of the rule begins.
        limit: beyond which the signature is shown; with `both`, also beyond its mirror image.
        above: beyond means above; else below.
        scale: how numbers are printed: shares as per cent, differences of shares as points, or plain ratios.
        advice: what to try, which fields of the experiment to change.
        needs: the targets without which there is nothing to measure.
        empty: why there can be nothing to measure although all of them are there.
        both: of a ratio, 1 / limit is the lower limit; of points, -limit.
        advice_below: what to try beyond the lower limit, where that is something else.
        condition: what else must hold.
    """

    family: str
    signature: str
    quantity: str
    limit: float
    above: bool
    scale: Literal["percent", "points", "ratio"]
    advice: str
    needs: tuple[str, ...]
    empty: str
    both: bool = False
    advice_below: str = ""
    condition: str = ""

    @property
    def mirror(self) -> float:
        """The lower limit of a rule with two."""
        return 1 / self.limit if self.scale == "ratio" else -self.limit

    @property
    def sentence(self) -> str:
        """The rule, with its limits and its condition."""
        limits = f"{'above' if self.above else 'below'} {self.number(self.limit)}"
        if self.both:
            limits += f" or below {self.number(self.mirror)}"
        return f"{self.quantity}, {limits}" + (f", {self.condition}" if self.condition else "")

    def verdict(self, low: float, high: float) -> Verdict:
        """What an interval says; not resolved where it is not known."""
        if isnan(low) or isnan(high):
            return "not resolved"
        beyond = low > self.limit if self.above else high < self.limit
        within = high <= self.limit if self.above else low >= self.limit
        if self.both:
            beyond, within = beyond or high < self.mirror, within and low >= self.mirror
        return "shown" if beyond else "not shown" if within else "not resolved"

    def interval(self, value: float, low: float, high: float) -> str:
        """A value with its interval, the unit once."""
        known = f" [{self._digits(low)}, {self._digits(high)}]" if not isnan(low) else ""
        return f"{self._digits(value)}{known}{self._unit}" + (
            "" if known else ", no interval: too few groups"
        )

    def number(self, value: float) -> str:
        """A limit with its unit."""
        return f"{self._digits(value)}{self._unit}"

    @property
    def _unit(self) -> str:
        return {"percent": " %", "points": " points", "ratio": ""}[self.scale]

    def _digits(self, value: float) -> str:
        if self.scale == "ratio":
            return f"{value:.2f}"
        shown = 100 * value
        if abs(shown) < 0.05:
            return "0.0"
        return f"{shown:.1f}" if self.scale == "percent" else f"{shown:+.1f}"


RARE: Final = Rule(
    STAGE_ONE, "agreement is too rare",
    "the share of train_2 that the last agreement ({agreed}) keeps", 0.15, False, "percent",
    "lower stage1.consistency with more answers a side (stage1.samples), or take a better weak model (weak)",
    ("labels/{agreed}", "labels/{side}"), "no question was asked",
)  # fmt: skip
IMPURE: Final = Rule(
    STAGE_ONE, "agreement is precise on easy questions only",
    "precision of the labels of {agreed} on the easier half of the levels minus that on the harder half", 0.10, True,
    "points", "raise stage1.consistency for purer labels, or add iterations (stage1.iterations)",
    ("labels/{agreed}",), "fewer than two levels, or no label is kept in one half of them",
)  # fmt: skip
EASY: Final = Rule(
    STAGE_ONE, "agreement keeps easy questions only",
    "the share kept by {agreed} of the harder half of the levels over that of the easier half", 1 / 3, False, "ratio",
    "add iterations (stage1.iterations), which reach harder questions, or lower stage1.consistency with several "
    "answers a side (stage1.samples)",
    ("labels/{agreed}", "labels/{side}"), "fewer than two levels, or nothing is kept of the easier half",
)  # fmt: skip
SHARED: Final = Rule(
    STAGE_ONE, "both sides make the same errors",
    "where both first answers are wrong, how often they are the same, beyond chance within a level", 0.20, True,
    "points",
    "take a weak model of another family (weak) or other demonstrations (seed, shots): agreement cannot filter shared "
    "errors",
    ("labels/weak_0", "labels/icl_0"), "the two sides are never both wrong",
)  # fmt: skip
LATER: Final = Rule(
    STAGE_ONE, "the last iteration loses accuracy", "{m_plus} minus {before} on {split}", 0.0, False, "points",
    "stop an iteration earlier (stage1.iterations), or train less (sft.max_steps, sft.learning_rate)",
    ("greedy/{split}/{m_plus}", "greedy/{split}/{before}"), "no question was graded",
)  # fmt: skip
OVERSURE: Final = Rule(
    STAGE_TWO, "the vote is miscalibrated", "the vote's mean confidence minus its accuracy on train_2", 0.10, True,
    "points", "too sure: raise stage2.keep and stage2.flip, or draw more votes (stage2.samples)",
    ("vote",), "no question has a vote", both=True,
    advice_below="not sure enough: lower stage2.keep and stage2.flip, which drop questions whose majority is right",
)  # fmt: skip
RANKS: Final = Rule(
    STAGE_TWO, "confidence does not tell right from wrong", "AUROC of the vote's confidence on train_2", 0.65, False,
    "ratio",
    "stage2.keep and stage2.flip choose little by such a confidence: draw more votes (stage2.samples), or strengthen "
    "Stage I first",
    ("vote",), "all votes are right, or all wrong",
)  # fmt: skip
CHOSEN: Final = Rule(
    STAGE_TWO, "the chosen side is often wrong", "the share of pairs whose chosen side is wrong", 0.25, True,
    "percent", "raise stage2.keep and stage2.flip: surer majorities",
    ("pairs", "labels/pairs_chosen"), "no pair was made",
)  # fmt: skip
REJECTED: Final = Rule(
    STAGE_TWO, "the rejected side is often right", "the share of pairs whose rejected side is right", 0.25, True,
    "percent", "raise stage2.flip: reject the weak response only against surer majorities",
    ("pairs", "labels/pairs_rejected"), "no pair was made",
)  # fmt: skip
PAIR_LENGTH: Final = Rule(
    STAGE_TWO, "pairs differ in length", "mean words of the chosen sides over those of the rejected ones", 1.2, True,
    "ratio",
    "preference training may learn length: fewer epochs or a lower learning_rate (stage2.dpo, stage2.orpo), and see "
    "whether responses change in length",
    ("pairs",), "no pair was made", both=True,
)  # fmt: skip
DRIFT: Final = Rule(
    STAGE_TWO, "{label}: responses change in length",
    "mean tokens of {title}'s responses over those of M_plus's on {split}", 1.2, True, "ratio",
    "lower stage2.{method}.learning_rate, or {beta} stage2.{method}.beta",
    ("greedy/{split}/{method}", "greedy/{split}/{m_plus}"), "the lengths of the responses were not kept", both=True,
)  # fmt: skip
OVERFIT: Final = Rule(
    STAGE_TWO, "{label}: over-fitting", "{title} minus M_plus on {split}", 0.0, False, "points",
    "train less: lower stage2.{method}.epochs or stage2.{method}.learning_rate",
    ("greedy/{split}/{method}", "greedy/{split}/{m_plus}"), "no question was graded",
    condition="while the training loss of the later half of the steps lies below that of the earlier half",
)  # fmt: skip
GAIN: Final = Rule(
    NO_GAIN, "the strong model learns nothing", "M_plus ({m_plus}) minus the weak floor on {split}", 0.02, False,
    "points",
    "the weak model may be too weak (weak, weak_sft.max_steps) or the training too short (sft.max_steps, "
    "sft.learning_rate): see full weak FT and weak ICL in `w2s show`",
    ("greedy/{split}/{m_plus}", "greedy/{split}/weak_floor"), "no question was graded",
)  # fmt: skip
ELICITED: Final = Rule(
    NO_GAIN, "training falls behind prompting", "M_plus ({m_plus}) minus weak ICL on {split}", 0.0, False, "points",
    "few-shot answers alone do better: keep more labels (stage1.consistency, stage1.iterations) or change the "
    "training (sft.max_steps, sft.learning_rate)",
    ("greedy/{split}/{m_plus}", "greedy/{split}/weak_icl"), "no question was graded",
)  # fmt: skip
RULES: Final = (
    RARE, IMPURE, EASY, SHARED, LATER, OVERSURE, RANKS, CHOSEN, REJECTED, PAIR_LENGTH, DRIFT, OVERFIT, GAIN, ELICITED,
)  # fmt: skip

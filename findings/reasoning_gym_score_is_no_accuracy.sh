#!/usr/bin/env bash
# Guess:     score_answer is 1 for a right answer and 0 for a wrong one; part of a point goes to a right answer that is
#            wrapped in words, never to another number. So the mean score of a model is near its accuracy.
# Behaviour: The default scorer asks whether the right answer's *text* stands anywhere in the given one, and gives the ratio
#            of the two lengths. For 156, the wrong numbers 1560, 1156 and -156 earn 0.75. A model that gets the sign of
#            every sum wrong scores 0.73 at an accuracy of 0; "12" as the answer to everything scores 0.30 on gcd, where
#            it is right once in 200 times. A right answer with a full stop scores 0.75, as much as those wrong ones.
#            Rewards of training and tables of results are to count score == 1, after cleaning the answer oneself.
# Version:   reasoning-gym 0.1.25
# Source:    reasoning_gym/dataset.py, ProceduralDataset.score_answer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet reasoning-gym==0.1.25
cd "$folder"
"$folder/venv/bin/python" -I - <<'PY'
import sys
from importlib.metadata import version

import reasoning_gym

SIZE = 200


def means(data, answer_to):
    answers = [(answer_to(item), item) for item in data]
    score = sum(data.score_answer(answer, item) for answer, item in answers) / SIZE
    accuracy = sum(answer == item["answer"] for answer, item in answers) / SIZE
    return score, accuracy


print("reasoning-gym", version("reasoning-gym"))
legs = reasoning_gym.create_dataset("leg_counting", seed=7, size=SIZE)
item = next(item for item in legs if len(item["answer"]) == 3)
right = item["answer"]
scores = {answer: legs.score_answer(answer, item) for answer in (right, right + "0", "1" + right, "-" + right, right + ".")}
print("leg_counting, right answer", right, "scores", scores)
as_stated = scores.pop(right) == 1 and set(scores.values()) == {0.75}

sums = reasoning_gym.create_dataset("chain_sum", seed=7, size=SIZE)
wrong_sign = means(sums, lambda item: "-" + item["answer"])
print(f"chain_sum, a minus too many each time: mean score {wrong_sign[0]:.2f}, accuracy {wrong_sign[1]:.3f}")
divisors = reasoning_gym.create_dataset("gcd", seed=7, size=SIZE)
always_12 = means(divisors, lambda item: "12")
print(f"gcd, always 12: mean score {always_12[0]:.2f}, accuracy {always_12[1]:.3f}")
as_stated &= wrong_sign[0] > 0.6 and wrong_sign[1] == 0 and always_12[0] > 0.2 and always_12[1] < 0.02
if not as_stated:
    sys.exit("CHANGED: wrong numbers do not score as the header says")
print("as stated: wrong numbers earn part of a point")
PY

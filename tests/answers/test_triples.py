r"""Answers beside gold answers, and whether they are the same: a table for each kind of fault that graders have.

Every pair is held both ways round, by `grade`, by `same` and by `classes`.
"""

from collections.abc import Iterator

import pytest

from w2s_core.answers.grading import Grader


@pytest.fixture(scope="module")
def graders() -> Iterator[dict[str, Grader]]:
    with Grader("math") as math, Grader("gsm8k") as gsm8k, Grader("choice") as choice:
        yield {"math": math, "gsm8k": gsm8k, "choice": choice}


def hold(grader: Grader, answer: str, gold: str, same: bool) -> None:
    verdict = "right" if same else "wrong"
    assert [str(one) for one in grader.grade([(answer, gold), (gold, answer)])] == [verdict, verdict]
    assert grader.same(answer, gold) is same is grader.same(gold, answer)
    first, second = grader.classes([answer, gold])
    assert (first == second) is same


SAME = {
    "order": [
        ("(2,3)", r"\left(2, 3\right)"),
        ("2,3", "3, 2"),
        (r"\{3,2\}", r"\{2,3\}"),
        (r"\{3,2\}", "2, 3"),
        ("2, 3", "(2,3)"),
        ("{2,3}", r"\{2,3\}"),
        (r"\{2,2,3\}", r"\{3,2\}"),
        (r"\langle 1,2\rangle", "(1,2)"),
        (r"(-\infty,1)\cup(3,\infty)", r"(3,\infty)\cup(-\infty,1)"),
        ("(5)", "5"),
        (r"\{5\}", "5"),
        (r"(1,2),(3,4)", r"(3,4), (1,2)"),
        (r"\{x, 1\}", r"\{1, x\}"),
    ],
    "tolerance": [
<<<<<<< HEAD
        (r"\frac{9^{20}}{10^{20}}", r"\left(\frac{9}{10}\right)^{20}"),
        (r"\frac{1}{2^{60}}", "2^{-60}"),
        (r"1-\frac{365\cdot364}{365^2}", r"\frac{1}{365}"),
        (r"\pi\cdot10^{-17}", r"\frac{\pi}{10^{17}}"),
        (r"\binom{10}{3}\cdot\frac{1}{2^{10}}", r"\frac{15}{128}"),
        (r"\sqrt{2}\cdot\sqrt{8}", "4"),
        (r"\frac{\sqrt{6}}{3}", r"\sqrt{\frac{2}{3}}"),
        ("0.1234567890123456789", "0.12345678901234567890"),
        (r"e^{2}\cdot e", "e^3"),
        (r"\sqrt[3]{54}", r"3\sqrt[3]{2}"),
=======
        (r"\frac{9^{20}}{10^{20}}", r"\left(\frac{9}{10}\right)^{20}"), (r"\frac{1}{2^{60}}", "2^{-60}"),
        (r"1-\frac{365\cdot364}{365^2}", r"\frac{1}{365}"), (r"\pi\cdot10^{-17}", r"\frac{\pi}{10^{17}}"),
        (r"\binom{10}{3}\cdot\frac{1}{2^{10}}", r"\frac{15}{128}"), (r"\sqrt{2}\cdot\sqrt{8}", "4"),
        (r"\frac{\sqrt{6}}{3}", r"\sqrt{\frac{2}{3}}"), ("0.1234567890123456789", "0.12345678901234567890"),
        (r"e^{2}\cdot e", "e^3"), (r"\sqrt[3]{54}", r"3\sqrt[3]{2}"),
>>>>>>> h-answers
        (r"\frac{1}{\sqrt{3}-1}", r"\frac{\sqrt{3}+1}{2}"),
    ],
    "words": [
        (r"3\text{ million}", "3000000"),
        ("5 hundred thousand", "500000"),
        ("3 and one half", r"\frac{7}{2}"),
        ("2.5 billion", "2500000000"),
        ("3 dozen", "36"),
        ("2 and three quarters", "2.75"),
        (r"10\text{ a.m.}", "10 am"),
        (r"10 \text{ A.M.}", "10 a.m."),
        ("5 apples", "5"),
        (r"18 \text{ students}", "18"),
        (r"\$3 \text{ million}", "3000000"),
        ("14 ways", "14"),
    ],
    "units": [
<<<<<<< HEAD
        (r"5 \text{ m}", r"500 \text{ cm}"),
        (r"5 \text{ m}", "5"),
        ("5cm", "5 cm"),
        ("2 hours", "120 minutes"),
        (r"\$0.50", "50 cents"),
        ("1 ft", "12 inches"),
        (r"3 \text{ m}^2", r"30000 \text{ cm}^2"),
        ("3 square meters", "3 m^2"),
        ("60 mph", "60 miles per hour"),
        ("60 km/h", "1 km/min"),
        (r"90^\circ", "90"),
        ("90 degrees", r"90^\circ"),
        (r"50\%", "50"),
        (r"12 \text{ square units}", "12"),
        (r"25\pi \text{ cm}^2", r"25\pi"),
        ("2 kg", "2000 grams"),
        ("$5", "5 dollars"),
        (r"2\sqrt{3} \text{ cm}", r"\sqrt{12} \text{ cm}"),
        (r"\frac{1}{2} \text{ m}", "50 cm"),
        ("3 weeks", "21 days"),
    ],
    "commas": [
        ("1,234", "1234"),
        ("100, 200", "100,200"),
        ("100,200", "100200"),
        ("1,000, 2,000", "1000, 2000"),
        (r"1,250\pi", r"1250\pi"),
        (r"11,\! 111,\! 100", "11111100"),
        ("x=1,000", "x=1000"),
        ("x=1,000", "1000"),
        (r"10{,}000", "10000"),
        ("1,234.5", "1234.5"),
        ("(1,000, 2,000)", "(1000,2000)"),
        (r"\frac{1,000}{3}", r"\frac{1000}{3}"),
        ("{(-1,6)}", "(-1,6)"),
        ("1,00,000", "100000"),
        (r"1\,000\,000", "1000000"),
        ("-1,234", "-1234"),
=======
        (r"5 \text{ m}", r"500 \text{ cm}"), (r"5 \text{ m}", "5"), ("5cm", "5 cm"), ("2 hours", "120 minutes"),
        (r"\$0.50", "50 cents"), ("1 ft", "12 inches"), (r"3 \text{ m}^2", r"30000 \text{ cm}^2"),
        ("3 square meters", "3 m^2"), ("60 mph", "60 miles per hour"), ("60 km/h", "1 km/min"), (r"90^\circ", "90"),
        ("90 degrees", r"90^\circ"), (r"50\%", "50"), (r"12 \text{ square units}", "12"),
        (r"25\pi \text{ cm}^2", r"25\pi"), ("2 kg", "2000 grams"), ("$5", "5 dollars"),
        (r"2\sqrt{3} \text{ cm}", r"\sqrt{12} \text{ cm}"), (r"\frac{1}{2} \text{ m}", "50 cm"),
        ("3 weeks", "21 days"),
    ],
    "commas": [
        ("1,234", "1234"), ("100, 200", "100,200"), ("100,200", "100200"), ("1,000, 2,000", "1000, 2000"),
        (r"1,250\pi", r"1250\pi"), (r"11,\! 111,\! 100", "11111100"), ("x=1,000", "x=1000"), ("x=1,000", "1000"),
        (r"10{,}000", "10000"), ("1,234.5", "1234.5"), ("(1,000, 2,000)", "(1000,2000)"),
        (r"\frac{1,000}{3}", r"\frac{1000}{3}"), ("{(-1,6)}", "(-1,6)"), ("1,00,000", "100000"),
        (r"1\,000\,000", "1000000"), ("-1,234", "-1234"),
>>>>>>> h-answers
    ],
    "matrices": [
        (r"\begin{bmatrix}1\\2\end{bmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\\3&4\\\end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}"),
        (r"\begin{pmatrix}-\frac{1}{3}\\2\end{pmatrix}", r"\begin{pmatrix}-1/3\\2\end{pmatrix}"),
        (r"\left(\begin{array}{cc}1&2\\3&4\end{array}\right)", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
        (r"\frac{1}{2}\begin{pmatrix}2\\4\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        (r"\begin{pmatrix}\sqrt{8}\\0\end{pmatrix}", r"\begin{pmatrix}2\sqrt{2}\\0\end{pmatrix}"),
        (r"\begin{bmatrix}1\\[2pt]2\end{bmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ],
    "relations": [
<<<<<<< HEAD
        ("x >= 5", r"x \geq 5"),
        (r"x \ge 5", "x ≥ 5"),
        (r"5 \le x", "x >= 5"),
        ("x != 5", r"x \neq 5"),
        (r"x \ne 5", "x ≠ 5"),
        ("1 < x < 2", "2 > x > 1"),
        ("x > 5", r"(5, \infty)"),
        (r"-1 \le x < 2", "[-1, 2)"),
        (r"x \in [1,2]", "[1,2]"),
        ("y = 2x+3", "2x - y + 3 = 0"),
        ("x+y=5", "y + x = 5"),
        (r"2x < 10", "x < 5"),
        ("x = 5", "5 = x"),
    ],
    "assignments": [
        ("x = 5", "5"),
        ("x=-4, x=6", "-4,6"),
        ("x = 6, x = -4", "-4, 6"),
        ("(p,q)=(3,2)", "(3,2)"),
        (r"x = 1 \text{ or } x = 2", "1, 2"),
        ("x = 1, 2", "1, 2"),
        ("x=1, y=2", "(1,2)"),
        ("x=1, y=2", "y=2, x=1"),
        ("f(x) = 2x+1", "2x+1"),
        ("AB = 5", "5"),
        (r"\theta = \frac{\pi}{2}", r"\frac{\pi}{2}"),
        ("x = 2+3 = 5", "5"),
        ("(p,q) = (3,2)", "p = 3, q = 2"),
        ("area = 12", "12"),
    ],
    "functions": [
        (r"\log_2 8", "3"),
        (r"\log_{2}8", "3"),
        (r"\log_{10} 1000", "3"),
        (r"\cos 60^\circ", r"\frac{1}{2}"),
        ("2(3)", "6"),
        ("xy", "yx"),
        (r"x \cdot y", "xy"),
        (r"\sin^2 x + \cos^2 x", "1"),
        (r"\ln e^2", "2"),
        (r"\tan^{-1} 1", r"\frac{\pi}{4}"),
        ("5!", "120"),
        (r"\binom{5}{2}", "10"),
        ("|{-3}|", "3"),
        (r"\sqrt2", r"2^{1/2}"),
        ("√2", r"\sqrt{2}"),
        ("2*3", "6"),
        (r"\sin 2x", r"2\sin x\cos x"),
        ("3x^2y", "3yx^2"),
        (r"\frac{1}{2}x", r"\frac{x}{2}"),
        ("x**2", "x^2"),
        (r"1 \pm \sqrt{2}", r"1+\sqrt{2}, 1-\sqrt{2}"),
        (r"\lfloor 3.7 \rfloor", "3"),
        ("3+4i", "4i+3"),
        (r"2\frac{1}{2}", "2.5"),
    ],
    "text": [
        (r"\textbf{meters}", "meters"),
        (r"19, 46, \text{ and } 82", "19, 46, 82"),
        (r"\emptyset", r"\varnothing"),
        (r"\text{Yes}", "yes"),
        (r"\{\}", r"\emptyset"),
        (r"\mathrm{even}", "Even"),
        (r"\text{(B)}", "B"),
        ("(e)", "E"),
        ("52_8", "52_{8}"),
        (r"\mathbf{A}", r"\text{A}"),
        ("5:40", "5:40"),
        (r"\text{red and blue}", "blue and red"),
    ],
    "invisible": [
        ("5<|im_end|>", "5"),
        ("5\u200b", "5"),
        ("\u20605", "5"),
        ("\ufeffx+1", "x+1"),
        ("５", "5"),
        ("10⁶", "1000000"),
    ],
}

DIFFERENT = {
    "order": [
        ("(3,2)", r"\{2,3\}"),
        ("(3,2)", "2,3"),
        ("(3,2)", "(2,3)"),
        ("(1,2)", "[1,2]"),
        ("[0,1)", "[0,1]"),
        ("[2,3]", r"\{2,3\}"),
        ("2,3", "2,3,3"),
        (r"\{1,2\}", r"\{1,2,3\}"),
        ("(1,2),(3,4)", "(2,1),(4,3)"),
        (r"(-\infty,1)\cup(3,\infty)", r"(-\infty,1]\cup(3,\infty)"),
        ("1,2", "12"),
        ("[1,2]", "2,1"),
=======
        ("x >= 5", r"x \geq 5"), (r"x \ge 5", "x ≥ 5"), (r"5 \le x", "x >= 5"), ("x != 5", r"x \neq 5"),
        (r"x \ne 5", "x ≠ 5"), ("1 < x < 2", "2 > x > 1"), ("x > 5", r"(5, \infty)"), (r"-1 \le x < 2", "[-1, 2)"),
        (r"x \in [1,2]", "[1,2]"), ("y = 2x+3", "2x - y + 3 = 0"), ("x+y=5", "y + x = 5"), (r"2x < 10", "x < 5"),
        ("x = 5", "5 = x"),
    ],
    "assignments": [
        ("x = 5", "5"), ("x=-4, x=6", "-4,6"), ("x = 6, x = -4", "-4, 6"), ("(p,q)=(3,2)", "(3,2)"),
        (r"x = 1 \text{ or } x = 2", "1, 2"), ("x = 1, 2", "1, 2"), ("x=1, y=2", "(1,2)"), ("x=1, y=2", "y=2, x=1"),
        ("f(x) = 2x+1", "2x+1"), ("AB = 5", "5"), (r"\theta = \frac{\pi}{2}", r"\frac{\pi}{2}"),
        ("x = 2+3 = 5", "5"), ("(p,q) = (3,2)", "p = 3, q = 2"), ("area = 12", "12"),
    ],
    "functions": [
        (r"\log_2 8", "3"), (r"\log_{2}8", "3"), (r"\log_{10} 1000", "3"), (r"\cos 60^\circ", r"\frac{1}{2}"),
        ("2(3)", "6"), ("xy", "yx"), (r"x \cdot y", "xy"), (r"\sin^2 x + \cos^2 x", "1"), (r"\ln e^2", "2"),
        (r"\tan^{-1} 1", r"\frac{\pi}{4}"), ("5!", "120"), (r"\binom{5}{2}", "10"), ("|{-3}|", "3"),
        (r"\sqrt2", r"2^{1/2}"), ("√2", r"\sqrt{2}"), ("2*3", "6"), (r"\sin 2x", r"2\sin x\cos x"),
        ("3x^2y", "3yx^2"), (r"\frac{1}{2}x", r"\frac{x}{2}"), ("x**2", "x^2"),
        (r"1 \pm \sqrt{2}", r"1+\sqrt{2}, 1-\sqrt{2}"), (r"\{1\pm\sqrt{5}, -2\}", r"\{-2, 1-\sqrt{5}, 1+\sqrt{5}\}"),
        (r"-2, 1\pm\sqrt{5}", r"1-\sqrt{5}, 1+\sqrt{5}, -2"), (r"\lfloor 3.7 \rfloor", "3"), ("3+4i", "4i+3"),
        (r"2\frac{1}{2}", "2.5"),
    ],
    "text": [
        (r"\textbf{meters}", "meters"), (r"19, 46, \text{ and } 82", "19, 46, 82"), (r"\emptyset", r"\varnothing"),
        (r"\text{Yes}", "yes"), (r"\{\}", r"\emptyset"), (r"\mathrm{even}", "Even"), (r"\text{(B)}", "B"),
        ("(e)", "E"), ("52_8", "52_{8}"), (r"4,210_5", "4210_{5}"), (r"\boxed{\frac{1}{2}}", "0.5"),
        (r"\text{\boxed{\sqrt{2}}}", r"\sqrt{2}"), (r"\mathbf{A}", r"\text{A}"), ("5:40", "5:40"),
        (r"\text{red and blue}", "blue and red"),
    ],
    "invisible": [
        ("5<|im_end|>", "5"), ("5\u200b", "5"), ("\u20605", "5"), ("\ufeffx+1", "x+1"), ("５", "5"),
        ("10⁶", "1000000"),
    ],
}  # fmt: skip

DIFFERENT = {
    "order": [
        ("(3,2)", r"\{2,3\}"), ("(3,2)", "2,3"), ("(3,2)", "(2,3)"), ("(1,2)", "[1,2]"), ("[0,1)", "[0,1]"),
        ("[2,3]", r"\{2,3\}"), ("2,3", "2,3,3"), (r"\{1,2\}", r"\{1,2,3\}"), ("(1,2),(3,4)", "(2,1),(4,3)"),
        (r"(-\infty,1)\cup(3,\infty)", r"(-\infty,1]\cup(3,\infty)"), ("1,2", "12"), ("[1,2]", "2,1"),
>>>>>>> h-answers
        (r"(-\infty, 5)", r"(-\infty, 5]"),
    ],
    "tolerance": [
        (r"\frac{9^{20}}{10^{20}}", r"\frac{9^{19}}{10^{20}}"),
<<<<<<< HEAD
        (r"\frac{2^{100}-1}{2^{99}}", r"\frac{2^{100}-1}{2^{100}}"),
        (r"\frac{1}{2^{60}}", r"\frac{1}{2^{61}}"),
        (r"\pi\cdot10^{-17}", r"2\pi\cdot10^{-17}"),
        (r"\binom{50}{3}\cdot\frac{1}{10^{30}}", r"\binom{50}{4}\cdot\frac{1}{10^{30}}"),
        (r"\sqrt{2}", "1.4142135623730950488"),
        (r"\pi", "3.14159265358979323846"),
        (r"\frac{1}{3}", "0.333333"),
        (r"\sqrt{2}+10^{-30}", r"\sqrt{2}"),
        (r"\sqrt{2}+10^{-300}", r"\sqrt{2}"),
        (r"e^{-50}", r"e^{-51}"),
=======
        (r"\frac{2^{100}-1}{2^{99}}", r"\frac{2^{100}-1}{2^{100}}"), (r"\frac{1}{2^{60}}", r"\frac{1}{2^{61}}"),
        (r"\pi\cdot10^{-17}", r"2\pi\cdot10^{-17}"),
        (r"\binom{50}{3}\cdot\frac{1}{10^{30}}", r"\binom{50}{4}\cdot\frac{1}{10^{30}}"),
        (r"\sqrt{2}", "1.4142135623730950488"), (r"\pi", "3.14159265358979323846"), (r"\frac{1}{3}", "0.333333"),
        (r"\sqrt{2}+10^{-30}", r"\sqrt{2}"), (r"\sqrt{2}+10^{-300}", r"\sqrt{2}"), (r"e^{-50}", r"e^{-51}"),
>>>>>>> h-answers
        (r"x\cdot10^{-20}", r"2x\cdot10^{-20}"),
        (r"\left(\frac{5}{6}\right)^{100}", r"\left(\frac{5}{6}\right)^{101}"),
        ("0.1234567890123456789", "0.1234567890123456788"),
    ],
    "words": [
<<<<<<< HEAD
        (r"10\text{ a.m.}", r"10\text{ p.m.}"),
        ("10 p.m.", "10"),
        (r"3\text{ million}", "3"),
        ("5 hundred thousand", "500"),
        ("3 and one half", "3"),
        ("5 apples", "5 oranges"),
        ("5 more than x", "5"),
        ("5 squared", "5"),
        ("5 or more", "5"),
        ("5 north", "5"),
        ("5 south", "5 north"),
        ("10 mod 7", "10"),
        ("3 tenths", "3"),
        ("5 feet 3 inches", "5"),
        ("5 below", "5"),
        ("at least 5", "5"),
        ("5 times 3", "5"),
        ("3 half", "3"),
        ("5 clockwise", "5 counterclockwise"),
        ("6 o'clock", "6"),
        ("two", "2"),
        ("not 5", "5"),
        ("7 foo", "7"),
        ("3 thousand", "3 million"),
    ],
    "units": [
        (r"5 \text{ m}", r"5 \text{ cm}"),
        ("5 hours", "5 minutes"),
        ("5 cm", r"5 \text{ cm}^2"),
        (r"\$5", "5 cents"),
        ("60 miles", "60 mph"),
        (r"50\%", "50 cm"),
        (r"25\pi \text{ cm}", r"25\pi \text{ m}"),
        ("5 kg", "5 g"),
        ("5x", "5"),
        ("5 x", "5"),
        ("€5", "$5"),
        ("90 degrees", "90 radians"),
        ("500 cm", "5"),
        ("3 dollars", "3 euros"),
    ],
    "commas": [
        ("0,100", "100"),
        ("1,23", "123"),
        ("9, 16", "916"),
        ("9 16", "916"),
        ("1, 234, 5", "12345"),
        ("(1,234)", "(1,235)"),
        ("100,200", "100,201"),
        ("3,5", "35"),
        ("1,0", "10"),
        ("1234,567", "1234567"),
=======
        (r"10\text{ a.m.}", r"10\text{ p.m.}"), ("10 p.m.", "10"), (r"3\text{ million}", "3"),
        ("5 hundred thousand", "500"), ("3 and one half", "3"), ("5 apples", "5 oranges"), ("5 more than x", "5"),
        ("5 squared", "5"), ("5 or more", "5"), ("5 north", "5"), ("5 south", "5 north"), ("10 mod 7", "10"),
        ("3 tenths", "3"), ("5 feet 3 inches", "5"), ("5 below", "5"), ("at least 5", "5"), ("5 times 3", "5"),
        ("3 half", "3"), ("5 clockwise", "5 counterclockwise"), ("6 o'clock", "6"), ("two", "2"), ("not 5", "5"),
        ("7 foo", "7"), ("3 thousand", "3 million"),
    ],
    "units": [
        (r"5 \text{ m}", r"5 \text{ cm}"), ("5 hours", "5 minutes"), ("5 cm", r"5 \text{ cm}^2"),
        (r"\$5", "5 cents"), ("60 miles", "60 mph"), (r"50\%", "50 cm"), (r"25\pi \text{ cm}", r"25\pi \text{ m}"),
        ("5 kg", "5 g"), ("5x", "5"), ("5 x", "5"), ("€5", "$5"), ("90 degrees", "90 radians"), ("500 cm", "5"),
        ("3 dollars", "3 euros"),
    ],
    "commas": [
        ("0,100", "100"), ("1,23", "123"), ("9, 16", "916"), ("9 16", "916"), ("1, 234, 5", "12345"),
        ("(1,234)", "(1,235)"), ("100,200", "100,201"), ("3,5", "35"), ("1,0", "10"), ("1234,567", "1234567"),
>>>>>>> h-answers
    ],
    "matrices": [
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "3"),
        (r"\begin{pmatrix}\frac{1}{3}\\2\end{pmatrix}", r"\begin{pmatrix}-\frac{1}{3}\\2\end{pmatrix}"),
    ],
    "relations": [
<<<<<<< HEAD
        ("x > 5", r"x \ge 5"),
        ("x < 5", "x > 5"),
        ("x = 5", r"x \ne 5"),
        ("x = 5", "y = 5"),
        ("x+y=5", "5"),
        ("2+7=9", "9"),
        ("xy = 5", "5"),
        ("2x = 10", "10"),
        ("1<x<2", r"1\le x<2"),
        ("-x < 5", "x < -5"),
        ("y=2x+3", "y=3x+2"),
        ("x > 5", "x > 6"),
    ],
    "assignments": [
        ("x=-4, x=6", "4, 6"),
        ("(p,q)=(3,2)", "(2,3)"),
        ("x=1, y=2", "(2,1)"),
        ("x=1, y=2", "x=2, y=1"),
        ("x=1 or x=2", "1"),
        ("r=0", "y=0"),
        ("x=1, y=2", "2, 1"),
    ],
    "functions": [
        (r"\log_2 8", "8"),
        (r"\log_2 9", "3"),
        (r"\cos 60^\circ", r"\cos 60"),
        ("2(3)", "5"),
        (r"\sqrt{x^2}", "x"),
        ("|x|", "x"),
        ("x+1", "x-1"),
        ("ABC", "CBA"),
        ("no", "on"),
        ("1/0", "1"),
        ("1/0", "0"),
        (r"5\pi", "5"),
        ("-2^2", "4"),
        (r"\infty", r"-\infty"),
        ("x^2", "x2"),
        ("10–15", "-5"),
        (r"\sin x", r"\cos x"),
        ("3!", "3"),
        ("xy", "x+y"),
    ],
    "text": [
        ("5:40", "540"),
        ("52_8", "52"),
        ("52_8", "52_9"),
        ("even", "odd"),
        (r"\text{increasing}", r"\text{decreasing}"),
        (r"\emptyset", "0"),
        ("Monday", "Tuesday"),
        ("A", "B"),
=======
        ("x > 5", r"x \ge 5"), ("x < 5", "x > 5"), ("x = 5", r"x \ne 5"), ("x = 5", "y = 5"), ("x+y=5", "5"),
        ("2+7=9", "9"), ("xy = 5", "5"), ("2x = 10", "10"), ("1<x<2", r"1\le x<2"), ("-x < 5", "x < -5"),
        ("y=2x+3", "y=3x+2"), ("x > 5", "x > 6"),
    ],
    "assignments": [
        ("x=-4, x=6", "4, 6"), ("(p,q)=(3,2)", "(2,3)"), ("x=1, y=2", "(2,1)"), ("x=1, y=2", "x=2, y=1"),
        ("x=1 or x=2", "1"), ("r=0", "y=0"), ("x=1, y=2", "2, 1"),
    ],
    "functions": [
        (r"\log_2 8", "8"), (r"\log_2 9", "3"), (r"\cos 60^\circ", r"\cos 60"), ("2(3)", "5"), (r"\sqrt{x^2}", "x"),
        ("|x|", "x"), ("x+1", "x-1"), ("ABC", "CBA"), ("no", "on"), ("1/0", "1"), ("1/0", "0"), (r"5\pi", "5"),
        ("-2^2", "4"), (r"\infty", r"-\infty"), ("x^2", "x2"), ("10–15", "-5"), (r"\sin x", r"\cos x"), ("3!", "3"),
        ("xy", "x+y"),
    ],
    "text": [
        ("5:40", "540"), ("52_8", "52"), ("52_8", "52_9"), ("even", "odd"),
        (r"\text{increasing}", r"\text{decreasing}"), (r"\emptyset", "0"), ("Monday", "Tuesday"), ("A", "B"),
>>>>>>> h-answers
    ],
}

NUMBER_TASK = [
<<<<<<< HEAD
    ("72!", "72", True),
    ("US$72", "72", True),
    ("72, which is the total.", "72", True),
    ("80_000", "80000", True),
    ("<<70+2=72>>72", "72", True),
    ("The answer is 5", "5", True),
    ("5 apples", "5", True),
    ("$1,080.00", "1080", True),
    ("2+7=9", "9", True),
    ("9, 16", "16, 9", True),
    ("5 hundred thousand", "500000", True),
    ("3 dozen eggs", "36", True),
    (r"\frac{1}{2}", "0.5", True),
    ("2^3", "8", True),
    (r"\sqrt{16}", "4", True),
    (r"2\sqrt{3}", r"\sqrt{12}", True),
    ("$5 per day", "5", True),
    ("Natalia has 72 clips.", "72", True),
    ("**72**", "72", True),
    ("-$5", "-5", True),
    ("1/2 cup", "0.5", True),
    ("5 1/2 hours", "5.5", True),
    ("= 72", "72", True),
    ("72 miles/hour", "72", True),
    ("10–15", "10-15", True),
    ("10-15", "-5", False),
    ("10 - 15", "-5", False),
    ("555-1234", "-679", False),
    ("72!", "7.2", False),
    ("9, 16", "9", False),
    ("9, 16", "916", False),
    ("5x", "5", False),
    ("5 x", "5", False),
    ("3:30", "3", False),
    ("3:30 p.m.", "3", False),
    ("5 a.m.", "5 p.m.", False),
    ("5 p.m.", "5", False),
    ("2 hours 30 minutes", "2", False),
    ("2 hours 30 minutes", "230", False),
    ("3 and one half", "3", False),
    ("five", "5", False),
    ("2+3", "2", False),
    ("2*3", "6", False),
    ("2+3", "5", False),
    ("1/2/3", "1/2", False),
    ("0,100", "100", False),
    ("1,23", "123", False),
    ("1.2.3", "1.23", False),
    ("3 million", "3", False),
    ("5 m", "5 cm", False),
    ("12 or 13", "12", False),
    ("at least 5", "5", False),
    ("5 minus 3", "5", False),
    ("27 1/2", "271/2", False),
]

LETTERS = [
    (r"\text{A}, \text{C}", "A", False),
    (r"\text{A}, \text{C}", "AC", True),
    ("(B)", "B", True),
    ("“B”", "B", True),
    ("\uff22", "B", True),
    ("C and A", "A, C", True),
    ("A", "B", False),
    ("B because a car moves", "B", True),
    (r"\textbf{(D)}", "d", True),
]
=======
    ("72!", "72", True), ("US$72", "72", True), ("72, which is the total.", "72", True), ("80_000", "80000", True),
    ("<<70+2=72>>72", "72", True), ("The answer is 5", "5", True), ("5 apples", "5", True),
    ("$1,080.00", "1080", True), ("2+7=9", "9", True), ("9, 16", "16, 9", True),
    ("5 hundred thousand", "500000", True), ("3 dozen eggs", "36", True), (r"\frac{1}{2}", "0.5", True),
    ("2^3", "8", True), (r"\sqrt{16}", "4", True), (r"2\sqrt{3}", r"\sqrt{12}", True), ("$5 per day", "5", True),
    ("Natalia has 72 clips.", "72", True), ("**72**", "72", True), ("-$5", "-5", True), ("1/2 cup", "0.5", True),
    ("5 1/2 hours", "5.5", True), ("= 72", "72", True), ("72 miles/hour", "72", True), ("10–15", "10-15", True),
    ("10-15", "-5", False), ("10 - 15", "-5", False), ("555-1234", "-679", False), ("72!", "7.2", False),
    ("9, 16", "9", False), ("9, 16", "916", False), ("5x", "5", False), ("5 x", "5", False), ("3:30", "3", False),
    ("3:30 p.m.", "3", False), ("5 a.m.", "5 p.m.", False), ("5 p.m.", "5", False),
    ("2 hours 30 minutes", "2", False), ("2 hours 30 minutes", "230", False), ("3 and one half", "3", False),
    ("five", "5", False), ("2+3", "2", False), ("2*3", "6", False), ("2+3", "5", False), ("1/2/3", "1/2", False),
    ("0,100", "100", False), ("1,23", "123", False), ("1.2.3", "1.23", False), ("3 million", "3", False),
    ("5 m", "5 cm", False), ("12 or 13", "12", False), ("at least 5", "5", False), ("5 minus 3", "5", False),
    ("27 1/2", "271/2", False),
]  # fmt: skip

LETTERS = [
    (r"\text{A}, \text{C}", "A", False), (r"\text{A}, \text{C}", "AC", True), ("(B)", "B", True), ("“B”", "B", True),
    ("\uff22", "B", True), ("C and A", "A, C", True), ("A", "B", False), ("B because a car moves", "B", True),
    (r"\textbf{(D)}", "d", True),
]  # fmt: skip
>>>>>>> h-answers


def rows(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    return [pair for pairs in table.values() for pair in pairs]


@pytest.mark.parametrize(("answer", "gold"), rows(SAME))
def test_answers_that_are_the_same(graders, answer, gold):
    hold(graders["math"], answer, gold, same=True)


@pytest.mark.parametrize(("answer", "gold"), rows(DIFFERENT))
def test_answers_that_differ(graders, answer, gold):
    hold(graders["math"], answer, gold, same=False)


@pytest.mark.parametrize(("answer", "gold", "same"), NUMBER_TASK)
def test_answers_to_a_task_of_numbers(graders, answer, gold, same):
    hold(graders["gsm8k"], answer, gold, same)


@pytest.mark.parametrize(("answer", "gold", "same"), LETTERS)
def test_letters(graders, answer, gold, same):
    hold(graders["choice"], answer, gold, same)

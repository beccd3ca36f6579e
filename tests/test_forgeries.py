"""What is handed to the kernel by somebody who cheats: proofs that leave their scope, things that only look like proofs, endless ones."""

from __future__ import annotations

import copy
import pickle
import time
from typing import Any

import pytest

from sparring.envs.kernel import FALSE, TRUE, ZERO, KernelError, Proof, Theorem, prove
from tests.formulas import Expr

X, P = ("var", "x"), ("pred", "p", ())

SCOPES: dict[str, tuple[Expr, Proof]] = {
    "a witness escapes": (
        ("imp", ("ex", ("eq", ("bound", 0), ("succ", ZERO))), ("all", ("eq", ("bound", 0), ("succ", ZERO)))),
        (
            "imp_intro",
            "h",
            ("ex", ("eq", ("bound", 0), ("succ", ZERO))),
            ("all_intro", "x", ("ex_elim", ("hyp", "h"), "x", "e", ("hyp", "e"))),
        ),
    ),
    "a witness is the conclusion's": (
        ("imp", ("ex", ("eq", ("bound", 0), ZERO)), ("all", ("eq", ("bound", 0), ZERO))),
        (
            "imp_intro",
            "h",
            ("ex", ("eq", ("bound", 0), ZERO)),
            ("ex_elim", ("hyp", "h"), "x", "e", ("all_intro", "x", ("hyp", "e"))),
        ),
    ),
    "a hypothesis about the variable is generalised": (
        ("all", ("imp", ("eq", ("bound", 0), ZERO), ("all", ("eq", ("bound", 0), ZERO)))),
        ("all_intro", "x", ("imp_intro", "h", ("eq", X, ZERO), ("all_intro", "x", ("hyp", "h")))),
    ),
    "induction over a variable that something is known of": (
        ("all", ("imp", ("eq", ("bound", 0), ZERO), ("all", ("eq", ("bound", 0), ZERO)))),
        (
            "all_intro",
            "x",
            (
                "imp_intro",
                "h",
                ("eq", X, ZERO),
                (
                    "induction",
                    ("eq", ("bound", 0), ZERO),
                    ("refl", ZERO),
                    "x",
                    "ih",
                    ("rewrite", ("hyp", "h"), ("eq", ("succ", X), ZERO), ("hyp", "h")),
                ),
            ),
        ),
    ),
    "a variable that nobody introduced": (("ex", ("eq", ("bound", 0), X)), ("ex_intro", ("eq", ("bound", 0), X), X, ("refl", X))),
    "a witness that mentions the binder": (
        ("ex", ("all", ("eq", ("bound", 1), ("bound", 0)))),
        ("ex_intro", ("all", ("eq", ("bound", 1), ("bound", 0))), ("bound", 0), ("all_intro", "x", ("refl", X))),
    ),
    "a hypothesis out of its scope": (
        P,
        ("and_left", ("and_intro", ("hyp", "h"), ("imp_intro", "h", P, ("hyp", "h")))),
    ),
    "a hypothesis of the other case": (
        ("imp", ("or", P, TRUE), P),
        ("imp_intro", "h", ("or", P, TRUE), ("or_elim", ("hyp", "h"), "a", ("hyp", "a"), "b", ("hyp", "a"))),
    ),
}


@pytest.mark.parametrize("name", list(SCOPES))
def test_wrong_scopes(name: str):
    formula, proof = SCOPES[name]
    with pytest.raises(KernelError):
        prove((("p", 0),), formula, proof, {})


def test_an_instance_captures_nothing():
    """From "for all x there is another y" nothing follows about a y that is bound further in."""
    differs = ("imp", ("eq", ("bound", 1), ("bound", 0)), FALSE)
    hypothesis = ("all", ("ex", differs))
    captured = ("ex", ("imp", ("eq", ("bound", 0), ("bound", 0)), FALSE))
    taken = ("imp_intro", "h", hypothesis, ("all_elim", ("hyp", "h"), ("bound", 0)))
    with pytest.raises(KernelError):
        prove((), ("imp", hypothesis, captured), taken, {})
    instance = ("imp_intro", "h", hypothesis, ("all_intro", "y", ("all_elim", ("hyp", "h"), ("var", "y"))))
    assert prove((), ("imp", hypothesis, hypothesis), instance, {}).formula == ("imp", hypothesis, hypothesis)


def test_a_body_captures_nothing():
    """The lemma "for all x, P x or not P x" would be false; "P 0 -> P 0" with a body that mentions a binder outside is refused,
    one with a binder inside keeps the argument out of it."""
    theorem = prove((("P", 1),), *imp_refl(("all", ("pred", "P", (("bound", 0),)))), {})
    lemmas = {"same": theorem}
    with pytest.raises(KernelError):
        prove((), TRUE, ("cut", "h", ("lemma", "same", (("eq", ("bound", 0), ("bound", 1)),)), ("true_intro",)), lemmas)
    body = ("ex", ("imp", ("eq", ("bound", 1), ("bound", 0)), FALSE))  # some y differs from the argument
    meant = ("all", ("ex", ("imp", ("eq", ("bound", 1), ("bound", 0)), FALSE)))
    assert prove((), ("imp", meant, meant), ("lemma", "same", (body,)), lemmas).formula == ("imp", meant, meant)


def imp_refl(formula: Expr) -> tuple[Expr, Proof]:
    return ("imp", formula, formula), ("imp_intro", "h", formula, ("hyp", "h"))


# ------------------------------------------------------------------------------------------------ forged objects


class Duck:
    symbols = ()
    formula = FALSE


class Name(str):
    """A string that equals any other."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


class Pair(tuple[Any, ...]):
    """A tuple that equals any other."""

    __hash__ = tuple.__hash__

    def __eq__(self, other: object) -> bool:
        return True


def test_theorems_are_made_by_proving():
    with pytest.raises(KernelError, match="made by proving"):
        Theorem((), FALSE, object())
    theorem = prove((), TRUE, ("true_intro",), {})
    with pytest.raises(KernelError, match="does not change"):
        theorem.formula = FALSE
    with pytest.raises((KernelError, TypeError, AttributeError)):
        copy.copy(theorem)
    with pytest.raises((KernelError, TypeError, AttributeError)):
        pickle.loads(pickle.dumps(theorem))
    assert theorem.formula == TRUE


def test_only_theorems_are_lemmas():
    class Heir(Theorem):
        pass

    for other in (Duck(), Duck, FALSE, None, Heir.__new__(Heir)):
        with pytest.raises(KernelError, match="no such theorem"):
            prove((), FALSE, ("lemma", "d", ()), {"d": other})  # pyright: ignore[reportArgumentType]


ILL_FORMED: list[Any] = [
    None, 0, "true_intro", [], ["true_intro"], (), (["true_intro"],), ("true_intro", ()), (Name("true_intro"),), Pair(("true_intro",)),
    ("hyp",), ("hyp", None), ("hyp", ["h"]), ("hyp", Name("h")), ("refl", ("bound", False)), ("refl", ("var", Name("x"))),
    ("refl", ("zero", ())), ("refl", ["zero"]), ("refl", ("succ",)), ("compute", ("true",), ()), ("compute", ["true"], ("true_intro",)),
    ("imp_intro", None, TRUE, ("true_intro",)), ("imp_intro", Name("h"), TRUE, ("true_intro",)), ("all_intro", 3, ("true_intro",)),
    ("lemma", "d", None), ("lemma", ["d"], ()), ("ex_intro", ("true",), None, ("true_intro",)), ("cut", "h", ("true_intro",)),
    ("cut", None, ("true_intro",), ("true_intro",)), ("or_left", ("true_intro",), ("pred", "p", [])),
    ("or_left", ("true_intro",), ("pred", Name("p"), ())), ("or_left", ("true_intro",), ("pred", ("p",), ())),
    ("or_left", ("true_intro",), ("and", TRUE)), ("false_elim", ("true_intro",), FALSE), ("all", TRUE),
]  # fmt: skip


@pytest.mark.parametrize("proof", ILL_FORMED, ids=lambda proof: repr(proof)[:50])
def test_ill_formed_proofs(proof: Any):
    with pytest.raises(KernelError):
        prove((("p", 0),), ("or", TRUE, P), proof, {})


@pytest.mark.parametrize(
    "formula", [None, "false", ["true"], ("true", 1), (Name("true"),), Pair(("true",)), ("bound", 0), ("eq", 1, 1)]
)
def test_ill_formed_statements(formula: Any):
    with pytest.raises(KernelError):
        prove((), formula, ("true_intro",), {})


@pytest.mark.parametrize(
    "symbols",
    [None, [("p", 0)], (("p", True),), (("p", -1),), (("p", 0), ("p", 1)), (["p", 0],), ((Name("p"), 0),), ("p0",), ((),)],
)
def test_ill_formed_symbols(symbols: Any):
    with pytest.raises(KernelError):
        prove(symbols, TRUE, ("true_intro",), {})


# ------------------------------------------------------------------------------------------------ time


def doubling(depth: int) -> Proof:
    """A proof of TRUE and TRUE and ..., twice as big with every line."""
    proof: Proof = ("hyp", f"h{depth}")
    for level in range(depth, 0, -1):
        proof = ("cut", f"h{level}", ("and_intro", ("hyp", f"h{level - 1}"), ("hyp", f"h{level - 1}")), proof)
    return ("cut", "h0", ("true_intro",), proof)


def nested(tag: str, depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = (tag, inner)
    return inner


def shared(tag: str, depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = (tag, inner, inner)
    return inner


ENDLESS: dict[str, Proof] = {
    "the same huge formula from two sides": (
        "or_elim",
        ("or_left", ("true_intro",), TRUE),
        "a",
        doubling(150),
        "b",
        doubling(150),
    ),
    "a premise that is huge": ("imp_elim", ("imp_intro", "h", TRUE, ("true_intro",)), doubling(150)),
    "a huge formula is written": ("false_elim", ("true_intro",), shared("and", 150, TRUE)),
    "a huge proof is written": shared("and_intro", 150, ("true_intro",)),
    "a huge term is written": ("refl", shared("add", 150, ZERO)),
    "a number like a tower": ("compute", TRUE, ("refl", shared("mul", 150, nested("succ", 3, ZERO)))),
    "a deep term": ("refl", nested("succ", 100_000, ZERO)),
    "a deep proof": nested("and_left", 100_000, ("true_intro",)),
    "many lines": ("true_intro",),
    "a message about something huge": ("hyp", shared("add", 150, ZERO)),
    "a name that is something huge": ("cut", shared("add", 150, ZERO), ("true_intro",), ("true_intro",)),
}
for number in range(50_000):
    ENDLESS["many lines"] = ("cut", f"h{number}", ("true_intro",), ENDLESS["many lines"])


@pytest.mark.parametrize("name", list(ENDLESS))
def test_the_kernel_comes_to_an_end(name: str):
    begun = time.process_time()
    with pytest.raises(KernelError):
        prove((), FALSE, ENDLESS[name], {})
    assert time.process_time() - begun < 10

"""What the prove game shows of its searches."""

from sparring.game import NO_GOALS, Attempt, Bout, Step, Verdict, make_task
from sparring.proofs import in_order, search_metrics


def step(state: str, tactic: str, result: str) -> Step:
    return Step(state=state, tactic=tactic, result=result, role="flat", used=True)


def test_a_proof_is_shown_in_the_order_of_its_script():
    split, left, right, both = (
        step("a /\\ (b /\\ a)", "split", "a\n\nb /\\ a"),
        step("a", "exact h", NO_GOALS),
        step("b", "exact h1", NO_GOALS),
        step("b /\\ a", "split", "b\n\na"),
    )
    # However the search came upon them; what is proved once and needed twice is in the script twice.
    for found in ([right, left, both, split], [split, both, right, left]):
        assert in_order(found) == [split, left, both, right, left]
    assert in_order([]) == []


def test_goals_that_cannot_be_proved_apart_are_one_state():
    first, second = step("a", "eapply h", "b ?x\n\nc ?x"), step("b ?x\n\nc ?x", "eauto", NO_GOALS)
    assert in_order([second, first]) == [first, second]


def bout(**stats: object) -> Bout:
    attempt = Attempt(answer="", stats=stats)
    return Bout(task=make_task("p"), attempts=(attempt,), verdicts=(Verdict(score=0.0, solved=False),))


def test_figures_are_sums_over_searches():
    found = search_metrics(
        [
            bout(status="proved", calls=3, env_s=0.5, proof_steps=4),
            bout(status="budget:calls", calls=5, env_s=0.25, proof_steps=0),
            bout(status="proved", calls=1, proof_steps=2),
        ]
    )
    assert found is not None
    assert (found["calls"], found["env_s"], found["proof_steps"]) == (9, 0.75, 3.0)
    assert found["status"] == {"budget:calls": 1, "proved": 2}
    assert search_metrics([Bout(task=make_task("p"), attempts=(Attempt(answer="x"),), verdicts=())]) is None

"""The library of the theorem world: what a proof may use by name, each with the script that proves it from those before.

``n <= m`` is written ``exists z, n + z = m``. The last lemmas (``RESERVED``) are used by no demonstration: theorems that need them ask
whether a player can use a premise that it has never seen used.
"""

from __future__ import annotations

from sparring.envs.embedded import Lemma


def _lemma(name: str, statement: str, script: str) -> Lemma:
    return Lemma(name, statement, "\n".join(line.strip() for line in script.strip().split(";")))


_ADDITION = (
    _lemma("add_0_l", "forall x, 0 + x = x", "intro x; rfl"),
    _lemma("add_succ_l", "forall x y, S x + y = S (x + y)", "intros x y; rfl"),
    _lemma("add_0_r", "forall x, x + 0 = x", "intro x; induction x; rfl; simpl; rewrite ih; rfl"),
    _lemma("add_succ_r", "forall x y, x + S y = S (x + y)", "intros x y; induction x; rfl; simpl; rewrite ih; rfl"),
    _lemma(
        "add_comm",
        "forall x y, x + y = y + x",
        "intros x y; induction x; simpl; rewrite add_0_r; rfl; simpl; rewrite add_succ_r; rewrite ih; rfl",
    ),
    _lemma("add_assoc", "forall x y z, x + y + z = x + (y + z)", "intros x y z; induction x; rfl; simpl; rewrite ih; rfl"),
    _lemma(
        "add_left_comm",
        "forall x y z, x + (y + z) = y + (x + z)",
        "intros x y z; rewrite <- add_assoc; rewrite (add_comm x y); rewrite add_assoc; rfl",
    ),
    _lemma(
        "add_right_comm",
        "forall x y z, x + y + z = x + z + y",
        "intros x y z; rewrite add_assoc; rewrite (add_comm y z); rewrite <- add_assoc; rfl",
    ),
    _lemma(
        "add_add_add_comm",
        "forall x y z u, x + y + (z + u) = x + z + (y + u)",
        "intros x y z u; rewrite add_assoc; rewrite (add_left_comm y z); rewrite <- add_assoc; rfl",
    ),
    _lemma("add_1_l", "forall x, 1 + x = S x", "intro x; rfl"),
    _lemma("add_1_r", "forall x, x + 1 = S x", "intro x; rewrite add_succ_r; rewrite add_0_r; rfl"),
    _lemma("add_succ_comm", "forall x y, S x + y = x + S y", "intros x y; rewrite add_succ_r; rfl"),
)

_SUCCESSOR = (
    _lemma("eq_symm", "forall x y, x = y -> y = x", "intros x y h; symmetry; exact h"),
    _lemma("eq_trans", "forall x y z, x = y -> y = z -> x = z", "intros x y z h h1; rewrite h; exact h1"),
    _lemma("ne_symm", "forall x y, x <> y -> y <> x", "intros x y h h1; apply h; symmetry; exact h1"),
    _lemma("succ_inj", "forall x y, S x = S y -> x = y", "intros x y h; injection h as h1; exact h1"),
    _lemma("succ_congr", "forall x y, x = y -> S x = S y", "intros x y h; rewrite h; rfl"),
    _lemma("succ_ne_zero", "forall x, S x <> 0", "intros x h; discriminate h"),
    _lemma("zero_ne_succ", "forall x, 0 <> S x", "intros x h; discriminate h"),
    _lemma(
        "ne_succ_self",
        "forall x, x <> S x",
        "intro x; induction x; intro h; discriminate h; intro h; apply ih; injection h as h1; exact h1",
    ),
    _lemma(
        "zero_or_succ",
        "forall x, x = 0 \\/ (exists y, x = S y)",
        "intro x; destruct x as [| y]; left; rfl; right; exists y; rfl",
    ),
    _lemma(
        "succ_of_ne_zero",
        "forall x, x <> 0 -> exists y, x = S y",
        "intros x h; destruct x as [| y]; exfalso; apply h; rfl; exists y; rfl",
    ),
)

_CANCELLATION = (
    _lemma(
        "add_left_cancel",
        "forall x y z, x + y = x + z -> y = z",
        "intros x y z h; induction x; simpl in h; exact h; apply ih; injection h as h1; exact h1",
    ),
    _lemma(
        "add_eq_zero_l",
        "forall x y, x + y = 0 -> x = 0",
        "intros x y h; destruct x as [| z]; rfl; discriminate h",
    ),
    _lemma(
        "add_eq_zero_r",
        "forall x y, x + y = 0 -> y = 0",
        "intros x y h; rewrite (add_comm x y) in h; exact (add_eq_zero_l y x h)",
    ),
    _lemma(
        "add_eq_zero",
        "forall x y, x + y = 0 -> x = 0 /\\ y = 0",
        "intros x y h; split; exact (add_eq_zero_l x y h); exact (add_eq_zero_r x y h)",
    ),
    _lemma(
        "add_eq_self_r",
        "forall x y, x + y = x -> y = 0",
        "intros x y h; apply (add_left_cancel x y 0); rewrite add_0_r; exact h",
    ),
    _lemma(
        "add_eq_self_l",
        "forall x y, x + y = y -> x = 0",
        "intros x y h; apply (add_eq_self_r y x); rewrite (add_comm y x); exact h",
    ),
)

_MULTIPLICATION = (
    _lemma("mul_0_l", "forall x, 0 * x = 0", "intro x; rfl"),
    _lemma("mul_succ_l", "forall x y, S x * y = y + x * y", "intros x y; rfl"),
    _lemma("mul_0_r", "forall x, x * 0 = 0", "intro x; induction x; rfl; simpl; exact ih"),
    _lemma(
        "mul_succ_r",
        "forall x y, x * S y = x + x * y",
        "intros x y; induction x; rfl; simpl; rewrite ih; rewrite (add_left_comm y x); rfl",
    ),
    _lemma(
        "mul_comm",
        "forall x y, x * y = y * x",
        "intros x y; induction x; simpl; rewrite mul_0_r; rfl; simpl; rewrite mul_succ_r; rewrite ih; rfl",
    ),
    _lemma(
        "mul_add",
        "forall x y z, x * (y + z) = x * y + x * z",
        "intros x y z; induction x; rfl; simpl; rewrite ih; rewrite (add_assoc y z); rewrite (add_assoc y (x * y));"
        "rewrite (add_left_comm z (x * y)); rfl",
    ),
    _lemma(
        "add_mul",
        "forall x y z, (x + y) * z = x * z + y * z",
        "intros x y z; rewrite (mul_comm (x + y) z); rewrite mul_add; rewrite (mul_comm z x); rewrite (mul_comm z y); rfl",
    ),
    _lemma(
        "mul_assoc",
        "forall x y z, x * y * z = x * (y * z)",
        "intros x y z; induction x; rfl; simpl; rewrite add_mul; rewrite ih; rfl",
    ),
    _lemma(
        "mul_left_comm",
        "forall x y z, x * (y * z) = y * (x * z)",
        "intros x y z; rewrite <- mul_assoc; rewrite (mul_comm x y); rewrite mul_assoc; rfl",
    ),
    _lemma(
        "mul_right_comm",
        "forall x y z, x * y * z = x * z * y",
        "intros x y z; rewrite mul_assoc; rewrite (mul_comm y z); rewrite <- mul_assoc; rfl",
    ),
    _lemma("mul_1_l", "forall x, 1 * x = x", "intro x; simpl; rewrite add_0_r; rfl"),
    _lemma("mul_1_r", "forall x, x * 1 = x", "intro x; rewrite (mul_comm x 1); rewrite mul_1_l; rfl"),
    _lemma("two_mul", "forall x, 2 * x = x + x", "intro x; simpl; rewrite add_0_r; rfl"),
    _lemma("mul_two", "forall x, x * 2 = x + x", "intro x; rewrite (mul_comm x 2); exact (two_mul x)"),
    _lemma("zero_mul_of_zero", "forall x y, x = 0 -> x * y = 0", "intros x y h; rewrite h; rfl"),
)

_ORDER = (
    _lemma("le_refl", "forall x, exists y, x + y = x", "intro x; exists 0; rewrite add_0_r; rfl"),
    _lemma("le_0_l", "forall x, exists y, 0 + y = x", "intro x; exists x; rfl"),
    _lemma("le_succ_diag", "forall x, exists y, x + y = S x", "intro x; exists 1; rewrite add_1_r; rfl"),
    _lemma("le_add_r", "forall x y, exists z, x + z = x + y", "intros x y; exists y; rfl"),
    _lemma("le_add_l", "forall x y, exists z, x + z = y + x", "intros x y; exists y; exact (add_comm x y)"),
    _lemma(
        "le_zero",
        "forall x, (exists y, x + y = 0) -> x = 0",
        "intros x h; destruct h as [y h1]; exact (add_eq_zero_l x y h1)",
    ),
    _lemma(
        "le_trans",
        "forall x y z, (exists u, x + u = y) -> (exists u, y + u = z) -> exists u, x + u = z",
        "intros x y z h h1; destruct h as [u h2]; destruct h1 as [v h3]; exists (u + v); rewrite <- add_assoc; rewrite h2; exact h3",
    ),
    _lemma(
        "le_succ_succ",
        "forall x y, (exists z, x + z = y) -> exists z, S x + z = S y",
        "intros x y h; destruct h as [z h1]; exists z; simpl; rewrite h1; rfl",
    ),
    _lemma(
        "le_of_succ_le_succ",
        "forall x y, (exists z, S x + z = S y) -> exists z, x + z = y",
        "intros x y h; destruct h as [z h1]; exists z; injection h1 as h2; exact h2",
    ),
    _lemma(
        "add_le_add_left",
        "forall x y z, (exists u, x + u = y) -> exists u, z + x + u = z + y",
        "intros x y z h; destruct h as [u h1]; exists u; rewrite add_assoc; rewrite h1; rfl",
    ),
)

_LOGIC = (
    _lemma("and_comm", "forall p q, p /\\ q -> q /\\ p", "intro h; destruct h as [h1 h2]; split; exact h2; exact h1"),
    _lemma("or_comm", "forall p q, p \\/ q -> q \\/ p", "intro h; destruct h as [h1 | h1]; right; exact h1; left; exact h1"),
    _lemma(
        "and_assoc",
        "forall p q r, (p /\\ q) /\\ r -> p /\\ q /\\ r",
        "intro h; destruct h as [h1 h2]; destruct h1 as [h3 h4]; split; exact h3; split; exact h4; exact h2",
    ),
    _lemma(
        "or_assoc",
        "forall p q r, (p \\/ q) \\/ r -> p \\/ q \\/ r",
        "intro h; destruct h as [h1 | h1]; destruct h1 as [h2 | h2]; left; exact h2; right; left; exact h2; right; right; exact h1",
    ),
    _lemma("curry", "forall p q r, (p /\\ q -> r) -> p -> q -> r", "intros h h1 h2; apply h; split; exact h1; exact h2"),
    _lemma(
        "uncurry",
        "forall p q r, (p -> q -> r) -> p /\\ q -> r",
        "intros h h1; destruct h1 as [h2 h3]; apply h; exact h2; exact h3",
    ),
    _lemma("imp_trans", "forall p q r, (p -> q) -> (q -> r) -> p -> r", "intros h h1 h2; apply h1; apply h; exact h2"),
    _lemma("imp_swap", "forall p q r, (p -> q -> r) -> q -> p -> r", "intros h h1 h2; apply h; exact h2; exact h1"),
    _lemma("contrapositive", "forall p q, (p -> q) -> ~ q -> ~ p", "intros h h1 h2; apply h1; apply h; exact h2"),
    _lemma("not_not_intro", "forall p, p -> ~ ~ p", "intros h h1; apply h1; exact h"),
    _lemma("not_not_not", "forall p, ~ ~ ~ p -> ~ p", "intros h h1; apply h; intro h2; apply h2; exact h1"),
    _lemma(
        "not_not_em",
        "forall p, ~ ~ (p \\/ ~ p)",
        "intro h; apply h; right; intro h1; apply h; left; exact h1",
    ),
    _lemma("absurd", "forall p q, p -> ~ p -> q", "intros h h1; contradiction"),
    _lemma(
        "not_or",
        "forall p q, ~ (p \\/ q) -> ~ p /\\ ~ q",
        "intro h; split; intro h1; apply h; left; exact h1; intro h1; apply h; right; exact h1",
    ),
    _lemma(
        "not_or_of_not",
        "forall p q, ~ p /\\ ~ q -> ~ (p \\/ q)",
        "intros h h1; destruct h as [h2 h3]; destruct h1 as [h4 | h4]; contradiction; contradiction",
    ),
    _lemma(
        "not_and_of_not",
        "forall p q, ~ p \\/ ~ q -> ~ (p /\\ q)",
        "intros h h1; destruct h1 as [h2 h3]; destruct h as [h4 | h4]; contradiction; contradiction",
    ),
    _lemma(
        "or_syllogism",
        "forall p q, p \\/ q -> ~ p -> q",
        "intros h h1; destruct h as [h2 | h2]; contradiction; exact h2",
    ),
    _lemma(
        "imp_of_not_or",
        "forall p q, ~ p \\/ q -> p -> q",
        "intros h h1; destruct h as [h2 | h2]; contradiction; exact h2",
    ),
    _lemma(
        "or_imp",
        "forall p q r, (p \\/ q -> r) -> (p -> r) /\\ (q -> r)",
        "intro h; split; intro h1; apply h; left; exact h1; intro h1; apply h; right; exact h1",
    ),
    _lemma(
        "or_elim",
        "forall p q r, (p -> r) -> (q -> r) -> p \\/ q -> r",
        "intros h h1 h2; destruct h2 as [h3 | h3]; apply h; exact h3; apply h1; exact h3",
    ),
    _lemma(
        "and_or_distr",
        "forall p q r, p /\\ (q \\/ r) -> p /\\ q \\/ p /\\ r",
        "intro h; destruct h as [h1 h2]; destruct h2 as [h3 | h3]; left; split; exact h1; exact h3; right; split; exact h1; exact h3",
    ),
    _lemma(
        "or_and_distr",
        "forall p q r, p \\/ q /\\ r -> (p \\/ q) /\\ (p \\/ r)",
        "intro h; destruct h as [h1 | h1]; split; left; exact h1; left; exact h1; destruct h1 as [h2 h3]; split; right; exact h2;"
        "right; exact h3",
    ),
    _lemma(
        "not_not_imp",
        "forall p q, ~ ~ (p -> q) -> ~ ~ p -> ~ ~ q",
        "intros h h1 h2; apply h1; intro h3; apply h; intro h4; apply h2; apply h4; exact h3",
    ),
    _lemma("iff_symm", "forall p q, (p <-> q) -> (q <-> p)", "intro h; destruct h as [h1 h2]; split; exact h2; exact h1"),
)

_RESERVED = (
    _lemma(
        "add_right_cancel",
        "forall x y z, x + z = y + z -> x = y",
        "intros x y z h; apply (add_left_cancel z x y); rewrite (add_comm z x); rewrite (add_comm z y); exact h",
    ),
    _lemma(
        "add_succ_ne_self",
        "forall x y, x + S y <> x",
        "intros x y h; have h1 : S y = 0; exact (add_eq_self_r x (S y) h); discriminate h1",
    ),
    _lemma(
        "lt_irrefl",
        "forall x, ~ (exists y, S (x + y) = x)",
        "intros x h; destruct h as [y h1]; rewrite <- add_succ_r in h1; exact (add_succ_ne_self x y h1)",
    ),
    _lemma(
        "mul_eq_zero",
        "forall x y, x * y = 0 -> x = 0 \\/ y = 0",
        "intros x y h; destruct x as [| z]; left; rfl; right; simpl in h; exact (add_eq_zero_l y (z * y) h)",
    ),
    _lemma(
        "mul_right_cancel",
        "forall x y z, x * S z = y * S z -> x = y",
        "intro x; induction x; intros y z h; destruct y as [| u]; rfl; discriminate h; intros y z h; destruct y as [| u];"
        "discriminate h; simpl in h; injection h as h1; rewrite (ih u z (add_left_cancel z (x * S z) (u * S z) h1)); rfl",
    ),
    _lemma(
        "mul_eq_one",
        "forall x y, x * y = 1 -> x = 1",
        "intros x y h; destruct x as [| z]; discriminate h; destruct y as [| u]; rewrite mul_0_r in h; discriminate h; simpl in h;"
        "injection h as h1; destruct z as [| v]; rfl; have h2 : S v * S u = 0; exact (add_eq_zero_r u (S v * S u) h1); discriminate h2",
    ),
    _lemma(
        "even_or_odd",
        "forall x, exists y, x = y + y \\/ x = S (y + y)",
        "intro x; induction x; exists 0; left; rfl; destruct ih as [y h]; destruct h as [h1 | h1]; exists y; right; rewrite h1; rfl;"
        "exists (S y); left; rewrite h1; simpl; rewrite add_succ_r; rfl",
    ),
    _lemma(
        "double_inj",
        "forall x y, x + x = y + y -> x = y",
        "intro x; induction x; intros y h; destruct y as [| z]; rfl; discriminate h; intros y h; destruct y as [| z]; discriminate h;"
        "simpl in h; rewrite (add_succ_r x x) in h; rewrite (add_succ_r z z) in h; injection h as h1; injection h1 as h2;"
        "rewrite (ih z h2); rfl",
    ),
    _lemma(
        "even_ne_odd",
        "forall x y, x + x <> S (y + y)",
        "intro x; induction x; intros y h; discriminate h; intros y h; destruct y as [| z]; simpl in h; rewrite add_succ_r in h;"
        "injection h as h1; discriminate h1; simpl in h; injection h as h1; rewrite (add_succ_r x x) in h1; injection h1 as h2;"
        "rewrite (add_succ_r z z) in h2; exact (ih z h2)",
    ),
    _lemma(
        "eq_dec",
        "forall x y, x = y \\/ x <> y",
        "intro x; induction x; intro y; destruct y as [| z]; left; rfl; right; intro h; discriminate h; intro y;"
        "destruct y as [| z]; right; intro h; discriminate h; destruct (ih z) as [h | h]; left; rewrite h; rfl; right; intro h1;"
        "apply h; injection h1 as h2; exact h2",
    ),
    _lemma(
        "le_antisymm",
        "forall x y, (exists z, x + z = y) -> (exists z, y + z = x) -> x = y",
        "intros x y h h1; destruct h as [z h2]; destruct h1 as [u h3]; have h4 : z + u = 0; apply (add_eq_self_r x (z + u));"
        "rewrite <- add_assoc; rewrite h2; exact h3; rewrite (add_eq_zero_l z u h4) in h2; rewrite add_0_r in h2; exact h2",
    ),
    _lemma(
        "le_total",
        "forall x y, (exists z, x + z = y) \\/ (exists z, y + z = x)",
        "intros x y; induction x; left; exists y; rfl; destruct ih as [h | h]; destruct h as [z h1]; destruct z as [| u];"
        "rewrite add_0_r in h1; right; exists 1; rewrite h1; exact (add_1_r y); left; exists u; rewrite <- h1; simpl;"
        "rewrite add_succ_r; rfl; destruct h as [z h1]; right; exists (S z); rewrite add_succ_r; rewrite h1; rfl",
    ),
)

LIBRARY: tuple[Lemma, ...] = (*_ADDITION, *_SUCCESSOR, *_CANCELLATION, *_MULTIPLICATION, *_ORDER, *_LOGIC, *_RESERVED)
RESERVED = frozenset(lemma.name for lemma in _RESERVED)

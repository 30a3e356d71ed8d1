"""Blanks to fill: a cell with three dots, and a check that tells right from wrong."""


def check(answer, hint=""):
    """Say whether a blank was filled in right. Never raises, so that a notebook also runs unfilled.

    Args:
        answer: What must be true, or a function without arguments that returns it: an error in it, such as that of a
            blank which is still empty, counts as "not yet".
        hint: What to think about when it is not.

    Example:
        >>> check(3 * 3 * 3 * 32 + 32 == 896)
        Right.
        >>> check(lambda: ... + 1 == 2, hint="one and one")
        Not yet. Hint: one and one
    """
    try:
        right = bool(answer() if callable(answer) else answer)
    except Exception:
        right = False
    print("Right." if right else f"Not yet. Hint: {hint}" if hint else "Not yet.")

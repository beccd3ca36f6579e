"""Errors that a user can mend."""


class SparringError(Exception):
    """Bad input or a bad environment. The message gives the value, the rule and the repair; the CLI prints it alone."""


class NotHere(SparringError):
    """Something on the Hugging Face hub that is not on this machine: a run would download it."""

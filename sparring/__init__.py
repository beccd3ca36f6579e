"""Learning as an infinite game: models that make their own tasks and learn from them."""

__version__ = "0.1.0"

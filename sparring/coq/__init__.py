"""Coq files: their holes filled, their proofs traced. The environment that a search runs in is ``envs/coq.py``."""

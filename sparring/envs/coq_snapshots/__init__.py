"""A second way to drive Coq: a server of our own, linked against Coq 8.16, that keeps Coq's states and goes from any of them to any other
at once. ``coqidetop`` has to run tactics again to get from one branch of a search to another; this has not.

``client`` speaks with the server, ``build`` makes it, ``server.ml`` is it. ``python -m sparring.envs.coq_snapshots`` builds it.
"""

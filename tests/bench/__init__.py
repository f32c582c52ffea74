"""The benchmark: `python -m tests.bench` measures mirrorsync beside its peers, in one run, as ratios."""

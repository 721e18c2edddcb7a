"""Measures of generated motion: what `scripts/evaluate.py` and its neighbours print. Nothing here is part of the product."""

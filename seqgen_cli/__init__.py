"""seqgen: trains models that generate or classify sequences."""

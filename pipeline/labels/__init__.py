"""Labelled documents without hand work: by rules, by seed words and self-training, by an LLM judge. What comes out trains `classify`."""

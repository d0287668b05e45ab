"""Pretraining and post-training of decoder-only models on token shards."""

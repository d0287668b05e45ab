"""Pretraining and post-training of decoder-only models on token shards. So far: the model family's shapes, and what training costs."""

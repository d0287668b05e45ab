"""From corpus shards to a vocabulary that is half Korean and half English, and from corpus shards to token shards.

`count` and `train` make the tokenizer, `audit` and `evaluate` say what it is worth, `encode` writes token shards that a trainer maps.
"""

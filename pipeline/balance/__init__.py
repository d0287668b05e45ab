"""Choose documents for the training phases so that languages and domains have the shares that were asked for."""

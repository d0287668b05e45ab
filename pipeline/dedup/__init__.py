"""Keep one document of every group of exact and near duplicates."""

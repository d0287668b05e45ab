"""Find benchmark text in documents and keep it out of the corpus."""

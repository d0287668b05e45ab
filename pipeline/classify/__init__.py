"""Label documents with fastText domain and quality models, which are trained here too."""

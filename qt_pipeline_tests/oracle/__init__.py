"""The loader held against an oracle of its own: random files and whole lives of datasets, predicted from the documents.

Here: a strict CSV reader, the documents' rules of types and policies, a model of tables, a generator of lives, the
comparison, a minimiser, and the runs. Not here: any code of the product, but for `product`, which drives it.
"""

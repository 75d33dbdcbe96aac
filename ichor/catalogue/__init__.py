"""The catalogue: the record of what is to be done and what was done.

Every function takes the session of `Catalogue.read()` or `Catalogue.write()`; none commits by itself.
"""

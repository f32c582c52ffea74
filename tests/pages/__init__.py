"""The pages for users and the man pages: those that are made of the product, and tests that hold all of them to it.

`python -m tests.pages` writes what is made.
"""

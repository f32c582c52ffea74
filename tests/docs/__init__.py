"""The pages for users: parts of them that are generated, and the tests that hold them to the product."""

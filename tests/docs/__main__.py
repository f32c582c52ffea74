"""`python -m tests.docs`: bring the generated parts of the pages up to date."""

from tests.docs.generated import write

write()

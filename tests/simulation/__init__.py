"""Three simulated years of a mirror, for many seeds: the planner, the executor and the memory against a plain model.

What is real: the spec (read from its text), the planner, the executor, the memory in its SQLite file, the errors and
the exit code. What is simulated: an upstream and a destination in memory (stores.py), and the time, given to all. With
`--to layout` (layout.py) and `--to registry` (registry.py, docker-registry) the destination is real, too: a layout may
have no blob left over after a run that deletes, and a process may die between any two of its writes.

Time goes from one event to the next: days on which nothing happens are not run, since a run that changes nothing would
only be repeated. A step is one to about twenty days long, and up to four things happen in it (world.py:EVENTS): the
upstream publishes, moves, moves back, drops, is emptied, is compromised for two hours, of which one has passed when the
run begins; other people push to the destination, move, alias and delete tags there; the memory is backed up, restored
from an old backup, lost, or damaged; the operator changes the spec (rules.py:CHANGES). In a third of the runs something
goes wrong (world.py:some_trouble): no answers, refused access, partial and empty lists, wrong bytes, refused writes, a
killed process. Some steps end with a rollback, a new or updated lock, a locked run, or a second run within hours.

Every run is compared with oracle.py, which knows the rules of the documentation and shares no code with the product,
and the memory after it with past.py. Which images a budget lets wait is taken from the plan; spending.py checks that
the budget is kept, and that not all would have fitted. In addition it is checked, without the oracle, that nothing was
deleted that was not owned, or without a memory; that no image was set inside its cool-down, counted from when it was
published; that every image that was set is whole; and that a killed run did a part of its work and nothing else.

A new key of the spec is a field and an entry of CHANGES in rules.py, and its rule in oracle.py. A new kind of event
is a function and an entry of EVENTS.
"""

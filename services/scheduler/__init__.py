"""Who runs where, when: pools, the queue, gangs, lost agents."""

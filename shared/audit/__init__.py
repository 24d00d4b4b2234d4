"""Tamper evidence for the log: hash chain, Merkle tree, signed seals, proofs and their verification. Pure.

Theory. The design is RFC 6962's (Certificate Transparency; B. Laurie, A. Langley, E. Kasper, 2013; restated in RFC
9162), whose tree hash goes back to R. Merkle, "A Digital Signature Based on a Conventional Encryption Function"
(CRYPTO '87); the linear chain is that of S. Haber and W. S. Stornetta, "How to Time-Stamp a Digital Document" (1991).

    record   what is hashed of an event: its sequence, its subject and its body, the exact bytes on the stream
    leaf     SHA-256(0x00 || record)
    node     SHA-256(0x01 || left || right)
    chain    SHA-256(0x02 || chain before || leaf); 32 zero bytes before the first event

The three prefixes keep a record, a node and a chain link from ever passing for one another. Event `seq` is leaf
`seq - 1` of one tree that only grows. A seal (AuditSealed) is the log's own signed statement about it: "the tree of
events 1..last has this root". Whoever changes, drops, inserts or reorders an event up to `last` changes the root, and
cannot sign another one without the key.

A seal stands by itself: it carries the frontier of the tree before its range (the roots of the O(log n) complete
subtrees that make it up), so that root and chain after the range follow from its events alone. Hence sealing is O(new)
with O(log n) of state, a tracker that starts reads one seal and one range, and a range that was tampered with does not
blind the check of the next. Consistency of successive seals is that the frontier and chain one begins with are those
the one before ended with. A root says that something is wrong, not what; so a seal also carries the first bytes of
each leaf. They name the event that was changed, and tell a dropped one from a swapped one even after renumbering.
"""

"""The verification of a log or an exported file: reads the events once, as they stand, and names what is wrong.

Events wait until the seal that covers them has come; then they are compared with it and forgotten. A seal whose events
are not all there waits for the end, in case that they only stand elsewhere. So what is kept is the unsealed end, and
what is broken.

Two witnesses tell what an event should be: the seals (signed, hence nobody else can make them), and in a file the chain
value that each line carries (not signed: it finds accidents, also where no seal has come yet).
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from shared.audit import compare
from shared.audit.findings import Finding, Kind, Report, events_named
from shared.audit.merkle import Frontier
from shared.audit.record import CHAIN_START, leaf_of, link
from shared.audit.seal import LOG, Malformed, decode_seal, extend, head_of, is_signed, tree_before
from shared.events import AuditSealed
from shared.subjects import TRACKER, event_filter

SEAL_SUBJECT = event_filter(TRACKER, AuditSealed.aggregate, LOG, AuditSealed.__name__)
MAX_LEAP = 1_000_000  # missing events at one place; a sequence further on is taken for nonsense


class _End(NamedTuple):
    """A tree and a chain, as a seal ends or begins with them."""

    last: int
    root: bytes
    chain: bytes


_NOTHING = _End(0, Frontier().root(), CHAIN_START)


class Verification:
    """Verifies one log. Without trusted keys the first good seal's key is trusted, and every other is a finding."""

    def __init__(self, trusted_keys: Collection[bytes] = ()) -> None:
        self._trusted = set(trusted_keys)
        self._keys: set[bytes] = set()
        self._next = 1
        self._num_events = 0
        self._held: dict[int, compare.Held] = {}  # no seal has been compared with them yet
        self._gaps: dict[int, int] = {}  # missing event -> the one that stands in its place
        self._told: set[int] = set()  # missing, and the reason is a finding already
        self._waiting: list[tuple[int, AuditSealed]] = []  # seals whose events are not all there
        self._begins: list[tuple[int, _End]] = []  # of every good seal, with its sequence
        self._ends = {0: _NOTHING}  # of every good seal
        self._claimed = CHAIN_START  # the chain value of the line before
        self._shift = 0  # how many dropped events were covered up by renumbering
        self._findings: list[Finding] = []

    @property
    def expected(self) -> int:
        """The sequence that should come next."""
        return self._next

    @property
    def num_events(self) -> int:
        """How many events were read."""
        return self._num_events

    def read(self, seq: int, subject: str, body: bytes, chain: bytes | None = None) -> None:
        """Take the event that stands next, with the chain value its line claims."""
        seq = self._place(seq, subject, body, chain)
        self._claimed = chain or CHAIN_START
        if seq in self._held or (seq < self._next and seq not in self._gaps):
            self.find(Kind.REPEATED, seq, f"event {seq} stands there more than once")
            return
        if seq - self._next > MAX_LEAP:
            self.find(Kind.MOVED, seq, f"event {seq} stands where event {self._next} should")
            return
        self._num_events += 1
        if seq in self._gaps:
            after = self._gaps.pop(seq)
            self.find(Kind.MOVED, seq, f"event {seq} stands after event {after}: they were reordered")
        else:
            self._gaps.update(dict.fromkeys(range(self._next, seq), seq))
            self._next = seq + 1
        self._held[seq] = compare.Held(leaf_of(seq, subject, body), subject, body, chain)
        if subject == SEAL_SUBJECT:
            self._read_seal(seq, body)

    def unreadable(self, reason: str) -> None:
        """Take a line that is no event, where the next one should be."""
        self.find(Kind.CHANGED, self._next, f"the line of event {self._next} cannot be read: {reason}")
        self._gaps[self._next] = self._next
        self._told.add(self._next)
        self._claimed = CHAIN_START
        self._next += 1

    def changed_line(self, seq: int, columns: Collection[str]) -> None:
        """Take note that a line says something else than the event in it."""
        self.find(
            Kind.CHANGED, seq, f"the line of event {seq} was changed: {', '.join(columns)} is not what its body says"
        )

    def ended(self, last: int | None) -> None:
        """Take note of where a file says that it ends; None: it does not say."""
        newest = self._next - 1
        if last is None:
            self.find(Kind.CUT, newest, f"the file breaks off after event {newest}: its last line is not there")
        elif newest < last <= newest + MAX_LEAP:
            self._gaps.update(dict.fromkeys(range(self._next, last + 1), last + 1))
            self._next = last + 1
        elif last != newest:
            self.find(Kind.CUT, newest, f"the file says that it ends with event {last}, but ends with event {newest}")

    def finish(self) -> Report:
        """Check what is left and return the report."""
        for seq, event in self._waiting:
            self._check(seq, event)
        self._findings += self._missing()
        self._findings += self._discontinued()
        self._findings += compare.with_lines(self._held, {end.last: end.chain for end in self._ends.values()})
        newest = max(self._ends.values())
        return Report(
            num_events=self._num_events,
            num_seals=len(self._begins),
            sealed=newest.last,
            unsealed=max(self._next - 1 - newest.last, 0),
            root=newest.root.hex(),
            chain=newest.chain.hex(),
            public_keys=sorted(key.hex() for key in self._keys),
            findings=sorted(self._findings, key=lambda finding: (finding.first, finding.last)),
        )

    def _place(self, seq: int, subject: str, body: bytes, chain: bytes | None) -> int:
        """Return the sequence of a line: the chain tells when only its number was changed."""
        if seq == self._next or chain is None:
            return seq
        if link(self._claimed, leaf_of(self._next, subject, body)) != chain:
            return seq
        self.find(Kind.CHANGED, self._next, f"the sequence of event {self._next} was changed to {seq}")
        return self._next

    def _read_seal(self, seq: int, body: bytes) -> None:
        try:
            event = decode_seal(body)
            before = tree_before(event)
        except Malformed as error:
            self.find(Kind.FORGED, seq, f"the seal at event {seq} cannot be one of this log: {error}")
            return
        if not is_signed(head_of(event)):
            self.find(Kind.FORGED, seq, f"the seal at event {seq} is forged: its signature is not over what it says")
        elif self._trusted and event.public_key not in self._trusted:
            key = event.public_key.hex()
            self.find(Kind.FORGED, seq, f"the seal at event {seq} is signed with another key, {key}")
        else:
            self._trusted.add(event.public_key)
            self._keys.add(event.public_key)
            self._begins.append((seq, _End(event.first - 1, before.root(), event.chain_before)))
            self._ends[event.last] = _End(event.last, event.root, event.chain)
            if event.last < seq and all(at in self._held for at in range(event.first, event.last + 1)):
                self._check(seq, event)
            else:
                self._waiting.append((seq, event))

    def _check(self, seq: int, event: AuditSealed) -> None:
        """Compare a good seal with its events."""
        sealed = {at: self._held.pop(at) for at in range(event.first, event.last + 1) if at in self._held}
        found, self._shift = compare.with_seal(seq, event, sealed, self._shift)
        self._findings += found
        if found or self._shift or len(sealed) <= event.last - event.first:
            return
        leaves = [sealed[at].leaf for at in range(event.first, event.last + 1)]
        tree, chain = extend(tree_before(event), event.chain_before, leaves)
        if (tree.root(), chain) != (event.root, event.chain):
            text = f"{events_named(event.first, event.last)} do not have the root that the seal at event {seq} says"
            self._findings.append(Finding(kind=Kind.INCONSISTENT, first=event.first, last=event.last, text=text))
        self._findings += compare.with_chain(sealed, event.chain_before)

    def _discontinued(self) -> Iterator[Finding]:
        """Two seals follow on each other when one begins with the tree and the chain the other ended with."""
        for seq, begin in self._begins:
            end = self._ends.get(begin.last)
            if end is None:
                known = max(last for last in self._ends if last < begin.last)
                gap = events_named(known + 1, begin.last)
                text = f"no good seal covers {gap}, though the one at event {seq} follows on them"
            elif end != begin:
                text = f"the seal at event {seq} does not continue the one that ends with event {begin.last}"
            else:
                continue
            yield Finding(kind=Kind.INCONSISTENT, first=seq, last=seq, text=text)

    def _missing(self) -> Iterator[Finding]:
        absent = sorted(self._gaps.keys() - self._told)
        start = 0
        for at, seq in enumerate(absent):
            if at + 1 == len(absent) or absent[at + 1] != seq + 1:
                first = absent[start]
                verb = "is" if first == seq else "are"
                yield Finding(
                    kind=Kind.MISSING, first=first, last=seq, text=f"{events_named(first, seq)} {verb} missing"
                )
                start = at + 1

    def find(self, kind: Kind, seq: int, text: str) -> None:
        """Note what is wrong with an event."""
        self._findings.append(Finding(kind=kind, first=seq, last=seq, text=text))

"""Comparing events with what they should be: by the prefixes in a seal, or by the chain values in a file."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shared.audit.findings import Finding, Kind, events_named
from shared.audit.record import leaf_of, link
from shared.audit.seal import PREFIX_BYTES
from shared.events import AuditSealed


class Held(NamedTuple):
    """An event that waits for its seal."""

    leaf: bytes
    subject: str
    body: bytes
    chain: bytes | None  # what its line claims


def with_seal(seal_seq: int, event: AuditSealed, sealed: Mapping[int, Held], shift: int) -> tuple[list[Finding], int]:
    """Return which events of a seal's range are not what was sealed, and what became of them.

    `shift` is by how much the events before were found to be renumbered; returned is what it is after these.
    """
    wanted = {
        at: event.leaf_prefixes[place * PREFIX_BYTES : (place + 1) * PREFIX_BYTES]
        for place, at in enumerate(range(event.first, event.last + 1))
    }
    wrong = sorted(at for at, held in sealed.items() if held.leaf[:PREFIX_BYTES] != wanted[at])
    really: dict[int, int] = {}
    hint = shift
    for at in wrong:
        found = _true_place(at, sealed[at], wanted, hint)
        if found is not None:
            really[at], hint = found, found - at
    # A seal that stands within its own range moved down with everything behind a dropped event.
    changed = [at for at in wrong if at not in really and at != seal_seq]
    swapped, runs = _swapped_and_runs(really)
    findings = swapped
    for first, last, off in runs:
        findings += _renumbered(first, last, off, shift)
        shift = off
    findings += [_changed(at, "it is not what was sealed") for at in changed]
    return findings, shift


def with_chain(sealed: Mapping[int, Held], chain: bytes) -> Iterator[Finding]:
    """Return the lines whose chain value was changed, of events that are all as they were sealed."""
    for at in sorted(sealed):
        chain = link(chain, sealed[at].leaf)
        if sealed[at].chain not in (None, chain):
            yield _chain_changed(at)


def with_lines(held: Mapping[int, Held], chains: Mapping[int, bytes]) -> Iterator[Finding]:
    """Return which events that no seal covers do not fit the chain values of their lines and of the lines before.

    `chains` are the values that seals end with, by the event after which they stand.
    """
    before: bytes | None = None
    for at in sorted(held):
        if at - 1 not in held:
            before = chains.get(at - 1)
        one, after = held[at], held.get(at + 1)
        if before is None or one.chain is None or link(before, one.leaf) == one.chain:
            before = one.chain
        elif after is None or after.chain is None or link(one.chain, after.leaf) == after.chain:
            yield _changed(at, "it does not fit the hash chain")
            before = one.chain
        else:
            yield _chain_changed(at)
            before = link(before, one.leaf)


def _true_place(at: int, held: Held, wanted: Mapping[int, bytes], hint: int) -> int | None:
    """Return under which sequence an event was sealed, the likeliest tried first."""
    for candidate in (at + hint, at + 1, at - 1, *wanted):
        if candidate in wanted and leaf_of(candidate, held.subject, held.body).startswith(wanted[candidate]):
            return candidate
    return None


def _swapped_and_runs(really: Mapping[int, int]) -> tuple[list[Finding], list[tuple[int, int, int]]]:
    """Return pairs that changed places, and runs of neighbours that are equally far off: first, last, how far."""
    swapped: list[Finding] = []
    runs: list[tuple[int, int, int]] = []
    for at, true in sorted(really.items()):
        if really.get(true) == at:
            if at < true:
                text = f"events {at} and {true} were swapped"
                swapped.append(Finding(kind=Kind.MOVED, first=at, last=true, text=text))
        elif runs and runs[-1][1:] == (at - 1, true - at):
            runs[-1] = (runs[-1][0], at, true - at)
        else:
            runs.append((at, at, true - at))
    return swapped, runs


def _renumbered(first: int, last: int, off: int, shift: int) -> Iterator[Finding]:
    stand = f"what stands as {events_named(first, last)} was sealed as {events_named(first + off, last + off)}"
    if off > shift:
        gone = (first + shift, first + off - 1)
        text = f"{events_named(*gone)} dropped, and the rest renumbered: {stand}"
        yield Finding(kind=Kind.MISSING, first=gone[0], last=gone[1], text=text)
    elif off < shift:
        yield Finding(kind=Kind.MOVED, first=first, last=last, text=f"renumbered: {stand}")


def _changed(at: int, why: str) -> Finding:
    return Finding(kind=Kind.CHANGED, first=at, last=at, text=f"event {at} was changed: {why}")


def _chain_changed(at: int) -> Finding:
    text = f"the chain value in the line of event {at} was changed"
    return Finding(kind=Kind.CHANGED, first=at, last=at, text=text)

"""tm audit verify, prove, check."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
import msgspec

from shared.audit.findings import Report
from shared.audit.proof import MAX_SEQ, Proof, doubts, prove
from shared.audit.record import leaf_of
from shared.audit.seal import Malformed, decode_seal
from shared.audit.verify import Verification
from shared.events import AuditSealed
from shared.subjects import TRACKER
from trainmaster.cli.options import data_option, json_option, platform_client
from trainmaster.cli.output import print_json
from trainmaster.client import Client, parquet
from trainmaster.client.export import RawEvent, verify_lines
from trainmaster.client.hints import command
from trainmaster.embedded.directory import DataDirectory

MAX_SHOWN = 50

_raw_decoder = msgspec.json.Decoder(RawEvent)


class PublicKey(click.ParamType[bytes]):
    """An Ed25519 public key, as hex or as a file with it, such as audit.pub in the data directory."""

    name = "key"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return the key's bytes."""
        path = Path(value)
        text = path.read_text() if path.is_file() else value
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != 32:
            self.fail(f"{value!r} is neither a public key of 64 hex digits nor a file with one", param, ctx)
        return key


key_option = click.option(
    "--key",
    "keys",
    type=PublicKey(),
    multiple=True,
    metavar="KEY",
    help="Trust only seals signed with this public key (hex or file; may be given more than once).",
)


@click.group()
def audit() -> None:
    """Show that nobody changed the log."""


@audit.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@key_option
@data_option
@json_option
def verify(file: Path | None, keys: tuple[bytes, ...], data: str | None, *, as_json: bool) -> None:
    """Verify the running platform's log, or an exported FILE offline.

    Without --key, the key of the platform on this machine is trusted, else that of the first seal.
    """
    verification = Verification(keys)
    if file is None:
        with platform_client(data) as client:
            verification = Verification(keys or _own_key(data, client))
            for event in _raw(client, after=0):
                verification.read(event.seq, event.subject, event.body)
    elif file.suffix == ".parquet":
        parquet.verify(file, verification)
    else:
        with file.open("rb") as lines:
            verify_lines(lines, verification)
    report = verification.finish()
    if as_json:
        print_json({"ok": report.ok} | asdict(report))
    else:
        _print(report, str(file or "the log"))
    sys.exit(0 if report.ok else 1)


@audit.command(name="prove")
@click.argument("seq", type=click.IntRange(1, MAX_SEQ))
@click.option("--newest", is_flag=True, help="Against the newest seal (reads all events in between).")
@data_option
@json_option
def prove_event(seq: int, data: str | None, *, newest: bool, as_json: bool) -> None:
    """Prove that event SEQ is on the log, against the first seal that covers it."""
    with platform_client(data) as client:
        covering, against = _seals(client, seq, newest=newest)
        events = list(_raw(client, after=covering[1].first - 1, last=against[1].last))
    chosen = next(event for event in events if event.seq == seq)
    leaves = [leaf_of(event.seq, event.subject, event.body) for event in events]
    proof = prove(seq, chosen.subject, chosen.body, covering[1], leaves, against)
    for doubt in doubts(proof):
        raise click.ClickException(f"the log does not prove it: {doubt}. See: {command('audit verify', data)}")
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(proof), indent=2).decode())
    else:
        click.echo(f"event {seq} is under the seal at event {against[0]}, in a path of {len(proof.path)} hashes")
        click.echo(f"for a proof that others can check: {command(f'audit prove {seq} --json', data)} > PROOF.json")


@audit.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@key_option
@json_option
def check(file: Path, keys: tuple[bytes, ...], *, as_json: bool) -> None:
    """Check a proof that tm audit prove --json has made. Needs no platform."""
    try:
        proof = msgspec.json.decode(file.read_bytes(), type=Proof)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file} is no proof: {error}") from error
    found = doubts(proof, keys)
    if as_json:
        print_json({"ok": not found, "seq": proof.seq, "root": proof.seal.root.hex(), "doubts": found})
    else:
        signed = f"signed with {proof.seal.public_key.hex()}"
        click.echo(
            "\n".join(found) or f"ok: event {proof.seq} is one of the first {proof.seal.last:,} of the log, {signed}"
        )
    sys.exit(1 if found else 0)


def _own_key(data: str | None, client: Client) -> tuple[bytes, ...]:
    """Return the key of the platform on this machine, if that is the one; none otherwise."""
    directory = DataDirectory.named(data)
    cluster, path = directory.cluster(), directory.path / "audit.pub"
    is_own = cluster is not None and cluster["url"] == client.url and path.is_file()
    return (bytes.fromhex(path.read_text()),) if is_own else ()


def _raw(client: Client, *, after: int, last: int | None = None, name: str | None = None) -> Iterator[RawEvent]:
    writer = TRACKER if name else None
    for line in client.raw_events({"after": after, "last": last, "name": name, "writer": writer}):
        yield _raw_decoder.decode(line)


def _seals(client: Client, seq: int, *, newest: bool) -> tuple[tuple[int, AuditSealed], tuple[int, AuditSealed]]:
    """Return the first seal that covers an event and the one to prove against, each with its sequence."""
    covering: tuple[int, AuditSealed] | None = None
    against: tuple[int, AuditSealed] | None = None
    for event in _raw(client, after=seq, name=AuditSealed.__name__):
        try:
            seal = decode_seal(event.body)
        except Malformed:
            continue
        if seal.first <= seq <= seal.last:
            covering = covering or (event.seq, seal)
        if covering is not None:
            against = (event.seq, seal)
            if not newest:
                break
    if covering is None or against is None:
        raise click.ClickException(f"no seal covers event {seq} yet; there is one every minute while the log grows")
    return covering, against


def _print(report: Report, what: str) -> None:
    for finding in report.findings[:MAX_SHOWN]:
        click.echo(f"{finding.kind:<13} {finding.text}")
    if len(report.findings) > MAX_SHOWN:
        click.echo(f"… and {len(report.findings) - MAX_SHOWN} more findings")
    state = "nothing was changed" if report.ok else "IT WAS TAMPERED WITH OR DAMAGED"
    click.echo(f"{what}: {report.num_events:,} events, {report.num_seals:,} good seals: {state}")
    click.echo(f"sealed up to event {report.sealed:,} with root {report.root}; {report.unsealed:,} events after it")
    for key in report.public_keys:
        click.echo(f"signed with {key}")

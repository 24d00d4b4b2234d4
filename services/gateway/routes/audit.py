"""Whether the log is as it was sealed, looked at here and now."""

import asyncio

from services.gateway import tap
from services.gateway.api import PREFIX, Call, Query, get
from services.gateway.views.audit import AuditFinding, AuditReport
from shared import subjects
from shared.audit.verify import Verification
from shared.errors import Unavailable
from shared.log import Follower

MAX_FINDINGS = 100
_turn = asyncio.Semaphore(1)  # it reads the whole log


async def verify(call: Call[Query]) -> AuditReport:
    """Read the whole log against its seals, trusting the key of the first one."""
    if _turn.locked():
        raise Unavailable("somebody else has the log verified just now")
    async with _turn, tap.reading(Follower(call.parts.client, subjects.EVENTS)) as following:
        verification = Verification()
        while True:
            for message in await following.next():
                verification.read(message.seq, message.subject, message.body)
            if following.at_head:
                break
    report = verification.finish()
    return AuditReport(
        ok=report.ok,
        events=report.num_events,
        seals=report.num_seals,
        sealed=report.sealed,
        unsealed=report.unsealed,
        root=report.root,
        public_keys=list(report.public_keys),
        findings=[AuditFinding(kind=str(each.kind), text=each.text) for each in report.findings[:MAX_FINDINGS]],
        num_findings=len(report.findings),
    )


ROUTES = (get(f"{PREFIX}/audit", verify, Query, AuditReport, "Verify the log against its seals"),)

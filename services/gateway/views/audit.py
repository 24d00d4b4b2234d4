"""The log compared with its seals."""

from services.gateway.views.view import View


class AuditFinding(View, frozen=True, kw_only=True):
    """Something that is not as it was sealed."""

    kind: str
    text: str


class AuditReport(View, frozen=True, kw_only=True):
    """The log compared with its seals: `sealed` is the last event that one covers, `unsealed` how many came since."""

    ok: bool
    events: int
    seals: int
    sealed: int
    unsealed: int
    root: str
    public_keys: list[str]
    findings: list[AuditFinding]
    num_findings: int

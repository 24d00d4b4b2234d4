"""Words that sentences share."""


def where(workspace: str | None) -> str:
    """Return where a role or a token holds: everywhere, or in one workspace."""
    return "everywhere" if workspace is None else f"in workspace {workspace or 'default'}"


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural where it is not one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

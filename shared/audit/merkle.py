"""The Merkle tree of RFC 6962, §2.1: its root from a compact frontier, inclusion paths, and their verification."""

from collections.abc import Sequence
from hashlib import sha256

HASH_BYTES = 32

_LEAF, _NODE = b"\x00", b"\x01"


def hash_leaf(record: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(_LEAF + record).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two subtrees."""
    return sha256(_NODE + left + right).digest()


class Frontier:
    """A tree of `size` leaves, kept as the roots of its complete subtrees, largest first: one for each 1 in binary."""

    __slots__ = ("nodes", "size")

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        if len(nodes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} complete subtrees, not {len(nodes)}")
        self.size = size
        self.nodes = list(nodes)

    @classmethod
    def from_bytes(cls, size: int, joined: bytes) -> "Frontier":
        """Return the frontier that `to_bytes` wrote. Raises ValueError when it cannot be one of that size."""
        if len(joined) % HASH_BYTES:
            raise ValueError("not a whole number of hashes")
        return cls(size, [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)])

    def to_bytes(self) -> bytes:
        """Return the roots one after the other."""
        return b"".join(self.nodes)

    def copy(self) -> "Frontier":
        """Return a frontier that grows by itself."""
        return Frontier(self.size, self.nodes)

    def append(self, leaf: bytes) -> None:
        """Add a leaf's hash: two complete subtrees of one size become one."""
        node, size = leaf, self.size
        while size & 1:
            node = hash_node(self.nodes.pop(), node)
            size >>= 1
        self.nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the tree's root."""
        if not self.nodes:
            return sha256(b"").digest()
        *rest, root = self.nodes
        for left in reversed(rest):
            root = hash_node(left, root)
        return root


def inclusion_path(index: int, before: Frontier, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of `before` and then `leaves`; the leaf is one of `leaves`.

    That is enough: a subtree that the path needs from before lies wholly in the frontier, or is made of it and leaves.
    """
    size = before.size + len(leaves)
    if not before.size <= index < size:
        raise ValueError(f"leaf {index} is not among leaves {before.size} to {size - 1}")
    roots = _complete_subtrees(before)

    def root_of(low: int, high: int) -> bytes:
        if (low, high) in roots:
            return roots[low, high]
        if high - low == 1:
            return leaves[low - before.size]
        middle = low + _split(high - low)
        return hash_node(root_of(low, middle), root_of(middle, high))

    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:  # from the root down; the path is told from the leaf up
        middle = low + _split(high - low)
        if index < middle:
            path.append(root_of(middle, high))
            high = middle
        else:
            path.append(root_of(low, middle))
            low = middle
    return path[::-1]


def root_of_path(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes | None:
    """Return the root that an audit path leads to (RFC 9162, §2.1.3.2), None when it cannot be one of that place."""
    if not 0 <= index < size:
        return None
    place, last, root = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            root = hash_node(sibling, root)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            root = hash_node(root, sibling)
        place, last = place >> 1, last >> 1
    return root if last == 0 else None


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _complete_subtrees(frontier: Frontier) -> dict[tuple[int, int], bytes]:
    roots: dict[tuple[int, int], bytes] = {}
    low = 0
    for node, digit in zip(frontier.nodes, _digits(frontier.size), strict=True):
        roots[low, low + digit] = node
        low += digit
    return roots


def _digits(size: int) -> list[int]:
    return [1 << bit for bit in reversed(range(size.bit_length())) if size >> bit & 1]

"""The Merkle tree against the test vectors of Certificate Transparency's reference implementation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.merkle import Frontier, hash_leaf, hash_node, inclusion_path, root_of_path

RECORDS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
LEAVES = [hash_leaf(bytes.fromhex(record)) for record in RECORDS]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {  # (leaf, size) -> path from the leaf up
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def grown(leaves: list[bytes]) -> Frontier:
    """The frontier of these leaves."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier


def root_by_definition(leaves: list[bytes]) -> bytes:
    """The root as RFC 6962 defines it, by recursion."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return hash_node(root_by_definition(leaves[:middle]), root_by_definition(leaves[middle:]))


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert grown(LEAVES[:size]).root().hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_the_paths_are_those_of_certificate_transparency(index: int, size: int) -> None:
    path = inclusion_path(index, Frontier(), LEAVES[:size])
    assert [node.hex() for node in path] == PATHS[index, size]


@given(size=st.integers(1, 300), data=st.data())
def test_every_leaf_proves_itself_from_any_frontier_before_it(size: int, data: st.DataObject) -> None:
    leaves = [hash_leaf(bytes([number % 256, number // 256])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    start = data.draw(st.integers(0, index))
    path = inclusion_path(index, grown(leaves[:start]), leaves[start:])
    root = grown(leaves).root()
    assert root == root_by_definition(leaves)
    assert root_of_path(index, size, leaves[index], path) == root
    assert len(path) <= size.bit_length()
    assert root_of_path(index, size, hash_leaf(b"something else"), path) != root
    assert root_of_path((index + 1) % size, size, leaves[index], path) != root or size == 1
    assert root_of_path(index, size, leaves[index], [*path, root]) is None


def test_every_leaf_of_every_small_tree_proves_itself() -> None:
    for size in range(1, 34):
        leaves = [hash_leaf(bytes([number])) for number in range(size)]
        for index in range(size):
            path = inclusion_path(index, Frontier(), leaves)
            assert root_of_path(index, size, leaves[index], path) == grown(leaves).root()


def test_a_frontier_survives_as_bytes_and_refuses_another_size() -> None:
    frontier = grown(LEAVES[:7])
    assert Frontier.from_bytes(7, frontier.to_bytes()).root() == frontier.root()
    for size, joined in ((6, frontier.to_bytes()), (7, frontier.to_bytes()[:-1])):
        with pytest.raises(ValueError):
            Frontier.from_bytes(size, joined)

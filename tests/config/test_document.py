"""Texts from outside: read by YAML's core schema, within limits, or refused with the place of the mistake."""

import pytest

from shared.config.document import MAX_BYTES, read_document
from shared.errors import Rejected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("010", 10),
        ("0x10", 16),
        ("0o17", 15),
        ("-3", -3),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("false", False),
        ("~", None),
        ("2024-01-01", "2024-01-01"),
        ("!!str 5", "5"),
        ('"5"', "5"),
    ],
)
def test_plain_values_mean_what_people_expect(text: str, value: object) -> None:
    assert read_document(f"key: {text}") == ({"key": value}, [])


def test_json_is_read_as_json() -> None:
    assert read_document('{"a":\t"\\ud83d\\ude00", "b": [1, 2.5, null]}') == ({"a": "😀", "b": [1, 2.5, None]}, [])


def test_anchors_and_merges_are_expanded() -> None:
    value, problems = read_document("base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\nlist: [*base, *base]")
    assert problems == []
    assert value == {"base": {"a": 1, "b": 2}, "more": {"a": 1, "b": 3}, "list": [{"a": 1, "b": 2}] * 2}


def test_of_several_merged_mappings_the_first_wins() -> None:
    value, _ = read_document("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}")
    assert isinstance(value, dict)
    assert value["c"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("a: 1\nb: {c: 1, c: 2}", "b.c", "is given twice, again in line 2"),
        ('{"a": 1, "a": 2}', "a", "is given twice, again in line 1"),
        ("? [1]\n: 2", "?", "a key must be text, line 1"),
        ("a: [.nan]", "a[0]", "must be a finite number"),
        ("a: 1e999", "a", "must be a finite number"),
        ("a: 99999999999999999999", "a", "is a whole number beyond 64 bits"),
        ("a: !!int x", "a", "is not a number that can be used: 'x'"),
        ('a: "\\0"', "a", "holds a character that cannot be stored"),
        ('{"a": "\\ud800"}', "a", "holds a character that cannot be stored"),
        ("a: {<<: 3}", "a.<<", "must name a mapping"),
    ],
)
def test_a_value_that_could_not_be_stored_is_named(text: str, path: str, message: str) -> None:
    _, problems = read_document(text)
    assert [(problem.path, problem.message) for problem in problems] == [(path, message)]


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!binary", "!!set", "!!timestamp", "!mine"]
)
def test_a_tag_never_makes_an_object(tag: str) -> None:
    value, problems = read_document(f"a: {tag} x")
    assert value == {"a": None}
    assert "plain values only" in problems[0].message


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [1, 2\nb: 3", "line 2, column 2"),
        ("a: b: c", "line 1, column 5"),
        ("a:\n\t- 1", "line 2, column 1"),
        ("a: 1\n---\nb: 2", "line 2, column 1"),
        ("a: *nowhere", "line 1, column 4"),
    ],
)
def test_a_syntax_error_says_where(text: str, where: str) -> None:
    with pytest.raises(Rejected, match="not valid YAML") as caught:
        read_document(text)
    assert caught.value.problems[0].path == where


def test_a_control_character_is_refused() -> None:
    with pytest.raises(Rejected, match="control characters"):
        read_document("a: \x01")


def test_a_text_over_the_limit_is_refused_as_too_large() -> None:
    with pytest.raises(Rejected, match="larger than") as caught:
        read_document("#" * (MAX_BYTES + 1))
    assert caught.value.status == 413


def bomb(opening: str) -> str:
    """Nine levels of nine aliases each, 387 million values."""
    lines = [f"a: &a {opening}x{opening.translate(str.maketrans('[{', ']}'))}"]
    lines += [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb("["), "more than 100,000 values"),
        ("a: &a [*a]", "nested more than"),
        ("a: &a {<<: *a}", "nested more than"),
        ("[" * 100_000, "nested more than"),
        ("{a: " * 100_000, "nested more than"),
        ("- " * 100_000, "nested more than"),
        ('{"a":' * 100_000, "nested more than"),
        ('{"a":' + "[" * 60 + "]" * 60 + "}", "nested more than"),
        ("a: [" + "1," * 500_000 + "]", "more than 100,000 values"),
        ('{"a": [' + "1," * 200_000 + "1]}", "more than 100,000 values"),
    ],
    ids=[
        "aliases",
        "itself",
        "merged itself",
        "lists",
        "mappings",
        "sequences",
        "json",
        "json lists",
        "many",
        "many json",
    ],
)
def test_a_text_that_grows_without_measure_is_refused(text: str, message: str) -> None:
    with pytest.raises(Rejected, match=message):
        read_document(text)


def test_a_text_repeated_by_aliases_counts_in_full() -> None:
    text = f"text: &text {'x' * 100_000}\nlist: [{', '.join(['*text'] * 20)}]"
    with pytest.raises(Rejected, match="counting what aliases repeat"):
        read_document(text)

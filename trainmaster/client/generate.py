"""Writes what follows from something else: `python trainmaster/client/generate.py`.

client/shapes.py follows from the API's description, and client/asynchronous from the sync client, so that there is one
to maintain: whatever talks HTTP, and whatever calls that, becomes a coroutine; generators become async ones. A test
holds what is checked in to what this would write.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

SOURCE = Path(__file__).parent
TARGET = SOURCE / "asynchronous"
SHAPES = SOURCE / "shapes.py"
OPENAPI = SOURCE.parents[1] / "docs" / "reference" / "openapi.json"
PACKAGE = "trainmaster.client"
ASYNC_PACKAGE = f"{PACKAGE}.asynchronous"

#: These do no HTTP; both clients use them as they are.
SHARED = frozenset({"errors", "shapes", "upload"})

NAMES = {
    "Client": "AsyncClient",
    "Iterator": "AsyncIterator",
    "AbstractContextManager": "AbstractAsyncContextManager",
    "contextmanager": "asynccontextmanager",
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
    "iter_bytes": "aiter_bytes",
    "iter_lines": "aiter_lines",
    "read": "aread",
    "close": "aclose",
}
#: What httpx does, what a part of the client is given to call with, and what it sleeps with.
AWAITED = frozenset({"request", "post", "delete", "aread", "aclose", "sleep", "_call_json"})
SHAPES_HEADER = """# Made by trainmaster/client/generate.py of docs/reference/openapi.json: change the gateway's views.
\"\"\"The JSON shapes of the API.\"\"\""""
CALLER = "Callable[..., dict[str, Any]]"
ASYNC_CALLER = "Callable[..., Awaitable[dict[str, Any]]]"


def modules() -> dict[str, ast.Module]:
    """Return the sync modules that must be made anew, by name: client.py, and what it imports of the package."""
    found: dict[str, ast.Module] = {}
    waiting = ["client"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = ast.parse((SOURCE / f"{name}.py").read_text())
            waiting += [other for other in _imported(found[name]) if other not in SHARED]
    return found


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{PACKAGE}."):
            yield node.module.removeprefix(f"{PACKAGE}.")


def shapes() -> str:
    """Return the text of shapes.py: the JSON of docs/reference/openapi.json as typed dictionaries."""
    made = subprocess.run(
        [
            sys.executable, "-m", "datamodel_code_generator", "--input", str(OPENAPI), "--input-file-type", "openapi",
            "--output-model-type", "typing.TypedDict", "--target-python-version", "3.11", "--formatters", "builtin",
            "--use-schema-description", "--use-standard-collections", "--use-union-operator",
            "--enum-field-as-literal", "all", "--no-use-closed-typed-dict", "--custom-file-header", SHAPES_HEADER,
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return _formatted(SHAPES, made.stdout)


def generated() -> dict[str, str]:
    """Return the text of each async module by its name, formatted."""
    trees = modules()
    kinds = _Kinds(trees)
    texts = {name: _text(_Async(kinds, frozenset(trees)).visit(tree)) for name, tree in trees.items()}
    return {name: _formatted(TARGET / f"{name}.py", text) for name, text in texts.items()}


def _text(tree: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(tree)).replace(CALLER, ASYNC_CALLER)
    if "time.sleep" in text:
        text = text.replace("import time\n", "import asyncio\nimport time\n").replace("time.sleep", "asyncio.sleep")
    if ASYNC_CALLER in text:
        text = text.replace("import Callable", "import Awaitable, Callable", 1)
    return f"# Made by trainmaster/client/generate.py from its sync counterpart: change that one.\n{text}\n"


def _formatted(path: Path, text: str) -> str:
    for words in (("check", "--fix-only", "--select", "D200,D209,D212,I,UP", "--quiet"), ("format",)):
        command = (sys.executable, "-m", "ruff", *words, "--stdin-filename", str(path), "-")
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text


class _Kinds:
    """What becomes of each function, by its name: an async generator, a coroutine, or nothing."""

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        self.generators = {function.name for function in functions if _has(function, ast.Yield, ast.YieldFrom)}
        returning = {function.name for function in functions if _is_iterator(function.returns)}
        self.iterators = self.generators | returning | {"aiter_bytes", "aiter_lines"}
        self.coroutines = {"__aenter__", "__aexit__", *AWAITED}
        plain = [function for function in functions if function.name not in self.generators | {"__init__"}]
        num_known = 0
        while num_known != len(self.coroutines):  # until nothing more follows
            num_known = len(self.coroutines)
            self.coroutines |= {function.name for function in plain if self._waits(function)}

    def _waits(self, function: ast.FunctionDef) -> bool:
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        awaited = {NAMES.get(name, name) for name in map(_called, calls)} & self.coroutines
        return bool(awaited) or _has(function, ast.With) or any(map(self.is_drained, calls))

    def is_drained(self, call: ast.Call) -> bool:
        """Say whether a call makes a list of what an iterator of ours yields."""
        first = call.args[0] if call.args else None
        return _called(call) == "list" and isinstance(first, ast.Call) and _called(first) in self.iterators


class _Async(ast.NodeTransformer):
    """Rewrites one module."""

    def __init__(self, kinds: _Kinds, made: frozenset[str]) -> None:
        self._kinds = kinds
        self._made = made
        self._given: set[str] = set()  # parameters that are iterators

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        module = (node.module or "").removeprefix(f"{PACKAGE}.")
        if node.module == PACKAGE or module in self._made:
            node.module = ASYNC_PACKAGE if node.module == PACKAGE else f"{ASYNC_PACKAGE}.{module}"
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._given |= {argument.arg for argument in node.args.args if _is_iterator(argument.annotation)}
        is_async = node.name in self._kinds.generators or NAMES.get(node.name, node.name) in self._kinds.coroutines
        self.generic_visit(node)
        node.name = NAMES.get(node.name, node.name)
        return ast.AsyncFunctionDef(**vars(node)) if is_async else node

    def visit_With(self, node: ast.With) -> ast.AST:
        return ast.AsyncWith(**vars(self.generic_visit(node)))

    def visit_For(self, node: ast.For) -> ast.AST:
        iterated = node.iter
        name = _called(iterated) if isinstance(iterated, ast.Call) else getattr(iterated, "id", "")
        is_async = NAMES.get(name, name) in self._kinds.iterators or name in self._given
        self.generic_visit(node)
        return ast.AsyncFor(**vars(node)) if is_async else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """`yield from` has no async form: yield one by one."""
        if isinstance(node.value, ast.YieldFrom):
            item = ast.Name("item", ast.Store())
            body: list[ast.stmt] = [ast.Expr(ast.Yield(ast.Name("item", ast.Load())))]
            return self.visit_For(ast.For(item, node.value.value, body, []))
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        is_drained = self._kinds.is_drained(node)
        self.generic_visit(node)
        if is_drained:
            each = ast.comprehension(ast.Name("item", ast.Store()), node.args[0], [], is_async=1)
            return ast.ListComp(ast.Name("item", ast.Load()), [each])
        return ast.Await(node) if _called(node) in self._kinds.coroutines else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = NAMES.get(node.attr, node.attr)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = NAMES.get(node.id, node.id)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = NAMES.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> ast.AST:
        node.name = NAMES.get(node.name, node.name)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str) and node.value.startswith("Iterator["):  # a type, for cast
            node.value = f"Async{node.value}"
        return node


def _called(call: ast.Call) -> str:
    function = call.func
    return getattr(function, "attr", getattr(function, "id", ""))


def _has(function: ast.FunctionDef, *kinds: type[ast.AST]) -> bool:
    return any(isinstance(node, kinds) for node in ast.walk(function))


def _is_iterator(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Subscript) and getattr(annotation.value, "id", "") == "Iterator"


def main() -> None:
    """Write the modules."""
    SHAPES.write_text(shapes())
    TARGET.mkdir(exist_ok=True)
    texts = generated()
    for path in TARGET.glob("*.py"):
        if path.stem not in {*texts, "__init__"}:
            path.unlink()
    for name, text in texts.items():
        (TARGET / f"{name}.py").write_text(text)


if __name__ == "__main__":
    main()

"""Calls can be read: what comes after a few arguments is named where it is given."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import calopipe

ROOT = Path(calopipe.__file__).parent
#: positional arguments of a function, at most, besides `self`
MOST = 7


def compiled(function: ast.FunctionDef) -> bool:
    """Whether numba or Triton compiles it: such functions call one another by position."""
    makers = ("njit", "intrinsic", "triton.jit")
    return any(maker in ast.unparse(d) for d in function.decorator_list for maker in makers)


def positional(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many arguments a call may give without their names."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_function_takes_many_positional_arguments(path):
    functions = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.FunctionDef)]
    long = {f.name: n for f in functions if not compiled(f) and (n := positional(f)) > MOST}
    assert not long, (
        f"more than {MOST} positional arguments: put a * before those that need a name, or take a dataclass"
    )


def test_the_limit_is_noticed():
    call = "def f(self, a, b, c, d, e, f, g, h{}): ..."
    many, named = (ast.parse(call.format(tail)).body[0] for tail in ("", ", *, i, j"))
    assert positional(many) == positional(named) == 8 > MOST
    assert positional(ast.parse("def f(a, *, b, c): ...").body[0]) == 1
    assert compiled(ast.parse("@njit(**_OPT)\ndef f(a): ...").body[0])

"""The inside of ``isolated.Isolated``: a process that grades untrusted text with a library that was not written for it.

Libraries of mathematics and of puzzles hand text to ``eval``. Three walls stand between an answer and the machine: ``eval`` on behalf
of such a library takes arithmetic and sympy's own classes and nothing else; an audit hook refuses to write files, start programs or
open connections; the kernel bounds processor time, memory and the size of files. The environment holds no secrets.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

MAX_ERROR = 200
_MB = 1024 * 1024
_GUARDED = ("sympy", "mpmath", "latex2sympy2_extended", "math_verify", "reasoning_gym")
_LITERAL = (ast.Expression, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Load, ast.keyword)
_OPERATION = (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)
_HOMES = ("sympy.core.", "sympy.functions.")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.add_dll_directory", "os.getxattr", "os.listxattr")
_REFUSED = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pty.", "signal.", "fcntl.", "mmap.", "syslog.", "webbrowser.")

_eval = builtins.eval


class Refused(Exception):
    """An expression, or a deed, that no answer has any business with."""


def checked_eval(
    source: str | bytes | CodeType, scope: dict[str, Any] | None = None, inner: Mapping[str, Any] | None = None, /
) -> Any:
    """``eval``, which for the guarded libraries takes expressions of arithmetic and of sympy alone."""
    caller = sys._getframe(1)
    names = caller.f_globals if scope is None else scope
    found = inner if inner is not None else caller.f_locals if scope is None else names
    if str(caller.f_globals.get("__name__")).partition(".")[0] in _GUARDED:
        known = {**names, **found}
        if isinstance(source, CodeType):
            _check_code(source, known)
        else:
            _check_tree(ast.parse(source.strip(), mode="eval"), known)
    return _eval(source, names, found)


def _check_tree(tree: ast.AST, known: Mapping[str, Any]) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or not _is_sympy(known.get(node.func.id)):
                raise Refused(f"call of {ast.unparse(node.func)[:40]}")
        elif isinstance(node, ast.Name):
            if node.id.startswith("_"):
                raise Refused(f"name {node.id[:40]}")
        elif not isinstance(node, _LITERAL + _OPERATION):
            raise Refused(type(node).__name__)


def _check_code(code: CodeType, known: Mapping[str, Any]) -> None:
    """What sympy compiles itself (``evaluate=False``) shows its names, of variables and attributes alike."""
    strange = [name for name in code.co_names if not _is_sympy(known.get(name))]
    if strange or any(isinstance(constant, CodeType) for constant in code.co_consts):
        raise Refused(f"names {', '.join(strange)[:80]}")


def _is_sympy(value: Any) -> bool:
    """A class of expressions, or a function that makes one; not one that prints, plots, compiles or reads."""
    from sympy import Basic

    if isinstance(value, type):
        return issubclass(value, Basic)
    return str(getattr(value, "__module__", "")).startswith(_HOMES)


def refuse(event: str, args: tuple[Any, ...]) -> None:
    """The audit hook. Modules may still be imported: libraries do so at their first use."""
    if event == "open":
        mode, flags = args[1], args[2]
        if (isinstance(flags, int) and flags & _WRITING) or (isinstance(mode, str) and set(mode) & set("wax+")):
            raise Refused("writing a file")
    elif event.startswith(_REFUSED) and event not in _HARMLESS:
        raise Refused(event)


def lock(memory_mb: int) -> None:
    """No way back in this process."""
    builtins.eval = checked_eval
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * _MB, memory_mb * _MB))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(refuse)


def answer(work: Callable[..., Any], number: int, args: list[Any], cpu_s: float) -> str:
    """The reply to a question. The kernel ends this process after ``cpu_s`` seconds of its processor time, wherever it hangs."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        return json.dumps([number, {"value": work(*args)}])
    except Exception as error:  # whatever a library makes of somebody's answer
        return json.dumps([number, {"error": f"{type(error).__name__}: {error}"[:MAX_ERROR]}])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def serve(function: str, warm: str, cpu_s: float, memory_mb: int) -> None:
    """Loads ``package.module:function``, calls it once with the arguments ``warm`` (JSON), then answers a question a line."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no reply
        module, _, name = function.partition(":")
        work = getattr(importlib.import_module(module), name)
        work(*json.loads(warm))
        lock(memory_mb)
        print("ready", file=replies, flush=True)
        for line in sys.stdin.buffer:
            number, args = json.loads(line)
            print(answer(work, number, args, cpu_s), file=replies, flush=True)

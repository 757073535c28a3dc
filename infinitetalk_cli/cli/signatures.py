"""Commands that have options in common: a function that reads them, and commands that take what it makes of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import typer


def with_options_of(read: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command has the options of `read`, and its own; its first parameter is what `read` makes of the former."""
    return _adding(parameters(read), lambda given: read(**given))


def with_given_options_of(
    read: Callable[..., Any], without: Iterable[str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The same, but for some of the options, and the first parameter is a dictionary of those that were given."""
    options = parameters(read, without)
    defaults = {item.name: item.default for item in options}
    return _adding(
        options, lambda given: {name: value for name, value in given.items() if value not in (None, defaults[name])}
    )


def _adding(
    shared: list[inspect.Parameter], make: Callable[[dict[str, Any]], Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = parameters(command)[1:]

        def run(**given: Any) -> None:
            mine = {item.name: given.pop(item.name) for item in own}
            command(make(given), **mine)

        return dressed(run, [*own, *shared], like=command)

    return decorate


def parameters(function: Callable[..., Any], without: Iterable[str] = ()) -> list[inspect.Parameter]:
    """The options of `function` as typer wants them; a parameter without a typer annotation stays as it is."""
    names = getattr(function, "__globals__", {})
    kept = (item for item in inspect.signature(function).parameters.values() if item.name not in without)
    return [item.replace(annotation=_evaluated(item.annotation, names)) for item in kept]


def dressed(
    function: Callable[..., Any], options: Iterable[inspect.Parameter], like: Callable[..., Any]
) -> Callable[..., Any]:
    """`function` (which takes keywords only) as a command with `options`, and name and help text of `like`."""
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in options]
    )
    function.__name__, function.__doc__, function.__annotations__ = like.__name__, like.__doc__, {}
    return function


def parsed_by(read: Callable[..., Any]) -> Callable[[list[str]], Any]:
    """What `read` makes of the words of a command line; a wrong one raises `typer.BadParameter` or its relatives."""
    app = typer.Typer(add_completion=False)
    app.command()(dressed(lambda **given: read(**given), parameters(read), like=read))
    command = typer.main.get_command(app)
    return lambda words: command.main(words, prog_name=read.__name__, standalone_mode=False)


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """Postponed annotations are text; a type that is there for type checkers only is no option, and stays text."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, names)
    except NameError:
        return annotation

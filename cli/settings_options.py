"""Options made from settings: a command names the settings that it takes, and `with_options` adds their options.

    @with_options
    def pretrain(*, out: Path, settings: Annotated[dict[str, Any], OptionsOf(PretrainingConfig)]) -> None: ...

Name, type, bounds, help, panel and default of an option come from the field that it sets.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer
from pydantic.fields import FieldInfo

from ubm_embed.data.tasks.task import Task
from ubm_embed.training.recipes import Recipe
from ubm_embed.training.settings import AS_DECLARED, Setting, Settings

_Marker = TypeVar("_Marker")


@dataclass(frozen=True)
class OptionsOf:
    """Marks the parameter that receives the values of these settings, by field; those that are None are missing."""

    settings: type[Settings]


@dataclass(frozen=True)
class After:
    """Marks an option of the command itself: help lists it after the option of this field."""

    field: str


@dataclass(frozen=True)
class _SettingOption:
    """The option of one field.

    Attributes:
        tasks: the tasks for which recipes may differ; (None,) for settings without a task.
    """

    name: str
    field: FieldInfo
    setting: Setting
    tasks: tuple[Task | None, ...]

    def parameter(self) -> inspect.Parameter:
        """The parameter of a command that typer makes the option from."""
        defaults = {recipe: self._defaults(recipe) for recipe in Recipe}
        distinct = {value for by_task in defaults.values() for value in by_task.values()}
        default: Any = None
        default_text: str | bool = True
        if len(distinct) > 1:
            default_text = "; ".join(f"{recipe}: {self._text(by_task)}" for recipe, by_task in defaults.items())
        elif None in distinct:
            default_text = self.setting.unset or False
        elif not self.setting.lists_omissions:
            (default,) = distinct if not self.setting.choices else map(self._word, distinct)
        option = typer.Option(
            *self.names(),
            help=self._help(),
            rich_help_panel=self.setting.panel,
            min=self._bound("ge"),
            max=self._bound("le"),
            show_default=default_text,
        )
        annotation: Any = Annotated[self._type() | None, option]
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    def value(self, given: Any) -> Any:
        """The field's value for what the command line gave; None for nothing."""
        if self.setting.lists_omissions:
            return tuple(value for value in self.field.default if value not in given) if given else None
        return self.setting.choices[given] if self.setting.choices and given is not None else given

    def _bound(self, name: str) -> Any:
        """The bound "ge" or "le" of the field; typer has no others, and the settings check those themselves."""
        return next((getattr(mark, name) for mark in self.field.metadata if hasattr(mark, name)), None)

    def names(self) -> tuple[str, ...]:
        """The option, or the pair of a yes and a no."""
        hyphenated = self.name.replace("_", "-")
        pair = f"--{hyphenated}/--no-{hyphenated}" if self._type() is bool else f"--{hyphenated}"
        return (self.setting.name or pair,)

    def _type(self) -> Any:
        if self.setting.choices:
            return Literal.__getitem__(tuple(self.setting.choices))
        required = [kind for kind in get_args(self.field.annotation) if kind is not type(None)]
        if not self.setting.lists_omissions:
            return required[0] if required else self.field.annotation
        (element, *_) = get_args(required[0]) if get_origin(required[0]) is Annotated else required
        return list[element]  # type: ignore[valid-type]

    def _help(self) -> str:
        limited = self.tasks != (None,) and self.setting.tasks != tuple(Task)
        return f"{', '.join(self.setting.tasks)}: {self.field.description}" if limited else str(self.field.description)

    def _defaults(self, recipe: Recipe) -> dict[Task | None, Any]:
        values = {task: self.setting.recipe_value(recipe, task) for task in self.tasks}
        return {task: self.field.default if value is AS_DECLARED else value for task, value in values.items()}

    def _text(self, by_task: dict[Task | None, Any]) -> str:
        """The value or values of a recipe: "600", or "nip 2000, pip and rlp 600"."""
        tasks: dict[str, list[str]] = {}
        for task, value in by_task.items():
            tasks.setdefault(self._word(value), []).append(str(task))
        if len(tasks) == 1:
            return next(iter(tasks))
        return ", ".join(f"{' and '.join(names)} {text}" for text, names in tasks.items())

    def _word(self, value: Any) -> str:
        """A value as the command line writes it."""
        if self.setting.choices:
            return next(word for word, chosen in self.setting.choices.items() if chosen == value)
        if isinstance(value, bool):
            yes, _, no = self.names()[0].partition("/")
            return (yes if value else no).removeprefix("--")
        return str(self.setting.unset if value is None else value)


def usage_error(error: ValueError, *groups: type[Settings]) -> typer.BadParameter:
    """The error of settings as one of their options: `--learning-rate must be above 0` for `learning_rate must ...`."""
    message = str(error)
    for option in (option for group in groups for option in _options_of(group)):
        word = option.names()[0].split("/")[0]
        if option.setting.lists_omissions and message.startswith(f"{option.name} "):
            message = f"{word}: {message}"
        else:
            message = re.sub(rf"(?<![\w-]){option.name}(?![\w-])", word, message)
    return typer.BadParameter(message)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command, where options stand for the parameters that are marked `OptionsOf`."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, list[_SettingOption]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if marker := _marker(hints[parameter.name], OptionsOf):
            groups[parameter.name] = list(_options_of(marker.settings))
            parameters += [option.parameter() for option in groups[parameter.name]]
        else:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for group, options in groups.items():
            given = {option.name: option.value(values.pop(option.name)) for option in options}
            values[group] = {name: value for name, value in given.items() if value is not None}
        command(**values)

    parameters = _ordered(parameters)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options_of(settings: type[Settings]) -> Iterator[_SettingOption]:
    has_task = "task" in settings.model_fields
    for name, setting in settings.declarations().items():
        if setting.panel is not None:
            yield _SettingOption(name, settings.model_fields[name], setting, setting.tasks if has_task else (None,))


def _ordered(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    ordered = [parameter for parameter in parameters if _marker(parameter.annotation, After) is None]
    for parameter in parameters:
        if marker := _marker(parameter.annotation, After):
            names = [other.name for other in ordered]
            ordered.insert(names.index(marker.field) + 1, parameter)
    return ordered


def _marker(annotation: Any, kind: type[_Marker]) -> _Marker | None:
    """The mark of this kind in an `Annotated`."""
    return next((mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, kind)), None)

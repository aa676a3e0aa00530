"""What requests carry, and how what is wrong with them is said; docs/studio-protocol.md."""

import json
import unicodedata
from typing import Annotated, Any, Literal, Never

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.responses import Response

from siglum.errors import ConfigError, DataError
from siglum.images import charsets, strokes
from siglum.studio.studio import MOST_DRAWINGS

Id = Annotated[str, Field(pattern="^[0-9a-f]{16}$", description="Sixteen hexadecimal digits.")]
Part = Literal["taught", "quiz"]
MOST_TEXT = 100  # characters of a name

_POINT = {
    "type": "array",
    "prefixItems": [
        {"type": "number", "minimum": low, "maximum": high} for low, high in strokes.BOUNDS.values()
    ],
    "items": False,
    "minItems": len(strokes.BOUNDS),
    "maxItems": len(strokes.BOUNDS),
}
DRAWING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "version": {"const": strokes.VERSION},
        "aspect": {
            "type": "number",
            "minimum": 1 / strokes.MAX_ASPECT,
            "maximum": strokes.MAX_ASPECT,
        },
        "strokes": {
            "type": "array",
            "items": {"type": "array", "items": _POINT, "minItems": 1},
            "maxItems": strokes.MAX_STROKES,
        },
    },
    "required": ["version", "aspect", "strokes"],
    "additionalProperties": False,
}
# `strokes.parse` checks it, in its own words.
Drawing = Annotated[Any, WithJsonSchema(DRAWING)]
Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]


class Asked(BaseModel):
    """Base of what requests carry: an unknown name, or a text for a number, is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Nothing(Asked):
    """No more than that it is asked for."""


class Reading(Asked):
    """A drawing to read."""

    drawing: Drawing
    heat: bool = False


class Naming(Asked):
    """A class's name."""

    name: Text


class Merging(Asked):
    """The class that another becomes part of."""

    into: Id


class Turning(Asked):
    """The change that is to be undone, or made again, by its line in the ledger."""

    line: Annotated[int, Field(ge=1)]


class Choosing(Asked):
    """Samples."""

    samples: Annotated[list[Id], Field(min_length=1, max_length=MOST_DRAWINGS)]


class Moving(Choosing):
    """The class that samples belong to."""

    class_: Annotated[Id, Field(alias="class")]


class Adding(Asked):
    """A sample to keep."""

    class_: Annotated[Id, Field(alias="class")]
    drawing: Drawing
    part: Part = "taught"
    writer: str = Field("", max_length=MOST_TEXT)
    key: Id | None = Field(None, description="Its id; the same one again keeps nothing more.")
    folder: Id | None = Field(None, description="What it was drawn for; no other one keeps it.")


def text(name: str, value: str, least: int = 1) -> str:
    """Return a name that people gave, composed and without blanks around it.

    Raises:
        ConfigError: if nothing is left, or it has a control character or half a character in it.
    """
    given = unicodedata.normalize("NFC", value).strip()
    if not least <= len(given) <= MOST_TEXT:
        raise ConfigError(
            f"{name} must have {least} to {MOST_TEXT} characters, got {len(given)} of them."
        )
    for char in given:
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp"):
            raise ConfigError(f"{name} must be text on one line, got U+{ord(char):04X} in it.")
    return given


def character(name: str) -> str:
    """Return the character that a Unicode name of several words names, or the name itself."""
    words = name.split()
    if len(words) > 1 and name.isascii() and "," not in name:
        try:
            (found,) = charsets.resolve(name)
            return found
        except (ConfigError, ValueError):
            pass
    return name


class StrictRequest(Request):
    """A request whose JSON is what RFC 8259 says, and no deeper than can be read."""

    async def json(self) -> Any:
        """Return the body's value.

        Raises:
            DataError: if it is no JSON, or too deep, or has NaN or Infinity.
        """
        if not hasattr(self, "_json"):
            self._json = parsed(await self.body())
        return self._json


class ReadingRoute(APIRoute):
    """A route that reads JSON strictly, and waits for its turn."""

    turn = "reading"  # of `app.state.turns`

    def get_route_handler(self):  # type: ignore[no-untyped-def]
        """Return the handler, with a strict request."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            async with request.app.state.turns[self.turn]:
                return await inner(StrictRequest(request.scope, request.receive))

        return handler


class ChangingRoute(ReadingRoute):
    """A route of changes, which wait for one another and for learning, but hold up no reading."""

    turn = "changing"


def parsed(raw: bytes) -> Any:
    """Return the value of JSON bytes; see `StrictRequest.json`."""
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise DataError("body must be JSON, got lists within lists too deep.") from None
    except UnicodeDecodeError:
        raise DataError("body must be JSON in UTF-8, got other bytes.") from None
    except json.JSONDecodeError as error:
        raise DataError(f"body must be JSON, got {error}.") from None
    except DataError:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"body must be JSON, got {str(error)[:80]}.") from None


def said(error: RequestValidationError) -> str:
    """Return the first broken rule: the name, the rule, the value."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:]) or "body"
    rule = str(first["msg"]).removeprefix("Input should be ").removeprefix("String should ")
    if first["type"] == "missing":
        return f"{name} must be given, got nothing."
    if first["type"] == "extra_forbidden":
        return f"{name} must be left out: nobody asks for it."
    given = first.get("input")
    shown = "a table or a list" if isinstance(given, dict | list) else ascii(given)[:60]
    return f"{name} must be so: {rule}; got {shown}."


def _refuse(word: str) -> Never:
    raise DataError(f"numbers must be finite, got {word}.")

"""The bodies of requests, checked; docs/studio-protocol.md."""

import unicodedata
from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from siglum.errors import ConfigError
from siglum.files import parse_json
from siglum.images import charsets
from siglum.studio.store import MAX_CLASSES, MAX_DRAWINGS

MAX_NAME = 100  # characters


def clean_name(value: str) -> str:
    """Return a name in Unicode's composed form, without surrounding blanks.

    Raises:
        ValueError: if it is too long, or has a line break, a control character or half a one.
    """
    name = unicodedata.normalize("NFC", value).strip()
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        raise ValueError("a name must be text on one line")
    if len(name) > MAX_NAME:
        raise ValueError(f"a name has at most {MAX_NAME} characters, this one {len(name):,}")
    return name


def class_name(value: str) -> str:
    """Return the name of a class; a Unicode name of several words stands for its character."""
    if not (name := clean_name(value)):
        raise ValueError("a name must not be empty")
    if " " in name and name.isascii() and "," not in name:
        try:
            (character,) = charsets.resolve(name)
            return character
        except (ConfigError, ValueError):
            pass
    return name


def _unique(ids: list[str]) -> list[str]:
    return list(dict.fromkeys(ids))


Id = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Split = Literal["train", "test"]
Text = Annotated[str, Field(max_length=MAX_NAME)]
Author = Annotated[Text, AfterValidator(clean_name)]
ClassName = Annotated[Text, AfterValidator(class_name)]
Drawing = dict[str, Any]  # `strokes.parse` checks it


class Schema(BaseModel):
    """A body; also an empty one. Unknown fields, and text for a number, are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Predict(Schema):
    """A drawing to predict."""

    drawing: Drawing
    heatmap: bool = False


class AddClasses(Schema):
    """Names of classes to add."""

    names: Annotated[list[ClassName], Field(min_length=1, max_length=MAX_CLASSES)]


class Rename(Schema):
    """A new name of a class."""

    name: ClassName


class Merge(Schema):
    """The class to merge another one into."""

    into: Id


class Revert(Schema):
    """The event to undo or redo."""

    event: Annotated[int, Field(ge=1)]


class Drawings(Schema):
    """Drawings to delete."""

    drawings: Annotated[
        list[Id], Field(min_length=1, max_length=MAX_DRAWINGS), AfterValidator(_unique)
    ]


class Move(Drawings):
    """Drawings to move, and where."""

    class_: Id = Field(alias="class")


class AddDrawing(Schema):
    """A drawing to save."""

    class_: Id = Field(alias="class")
    drawing: Drawing
    split: Split = "train"
    author: Author = ""
    id: Id | None = None
    set_id: Id | None = None
    replaces: Id | None = None


class StrictRequest(Request):
    """A request whose JSON is strict."""

    async def json(self) -> Any:
        """Return the value of the body; DataError if it is not strict JSON."""
        return parse_json(await self.body(), "The body of the request")


class Route(APIRoute):
    """A route that reads strict JSON and waits for its turn.

    Changes wait for each other and for the fit, so they have turns of their own, and delay no
    reading.
    """

    def get_route_handler(self):  # type: ignore[no-untyped-def]
        """Return the handler."""
        handle = super().get_route_handler()
        turn = "write" if "change" in self.tags else "read"

        async def handler(request: Request) -> Response:
            async with request.app.state.turns[turn]:
                return await handle(StrictRequest(request.scope, request.receive))

        return handler


def explain(error: RequestValidationError) -> str:
    """Return which field breaks which rule, in a sentence."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:]) or "body"
    if first["type"] == "missing":
        return f"{name} is missing."
    if first["type"] == "extra_forbidden":
        return f"{name} is not a field of this request."
    rule = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{name}: {rule}, got {ascii(first.get('input'))[:60]}."

"""Where pictures come from: `load("mnist5k")`, `load("idx:DIR")`, `load("folder:DIR")`, ...

What stands here is imported when it is asked for: a bundle reads pictures without any source.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siglum.images.imageset import ImageSet
    from siglum.images.sources import SOURCES, Source, load, parts

__all__ = ["SOURCES", "ImageSet", "Source", "load", "parts"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from siglum.images import sources

    return getattr(sources, name)

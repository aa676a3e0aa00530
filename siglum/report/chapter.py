"""A part of a comparison's page."""

from dataclasses import dataclass

from markupsafe import Markup

from siglum.report.comparison_tables import Table


@dataclass(frozen=True)
class Chapter:
    """A part of the page: a finding, and what it stands on."""

    anchor: str
    title: str
    finding: str
    tables: tuple[Table, ...] = ()
    folded: tuple[tuple[str, Table], ...] = ()  # under a line to open
    figures: tuple[tuple[str, tuple[Markup, ...]], ...] = ()
    beside: str = ""  # name of the picture that shows the figures where the page cannot hold them
    caption: str = ""  # of the figures
    listed: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()  # arm, command lines

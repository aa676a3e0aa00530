"""What a section of the report is."""

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Section:
    """One part of the page: a page is its findings, the figures are the footnotes."""

    title: str
    finding: Markup  # one sentence with its number
    html: Markup  # the evidence

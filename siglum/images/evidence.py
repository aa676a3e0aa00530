"""What was found in a picture, as short plain sentences for the person who took it."""

from siglum.images.normalise import Evidence

PALE = 0.15  # of the paper's light: ink that takes less is easily lost
UNEVEN = 0.3  # of the light missing at the darkest place
SMALL = 20  # px: a longer side of the ink that is too short to show much


def sentences(found: Evidence) -> list[str]:
    """Say what was found, what is doubtful about it, and what would help."""
    if found.empty:
        return doubts(found)
    ink = "Dark ink on light paper." if found.inverted else "Light ink on dark paper."
    return [ink, *doubts(found)]


def doubts(found: Evidence) -> list[str]:
    """Say why an answer may be wrong that the picture alone is to blame for, the gravest first."""
    if found.empty:
        return ["No ink was found: nothing stands out from the paper."]
    said = []
    if found.characters > 1:
        many = "two" if found.characters == 2 else "several"
        said.append(f"It looks like {many} characters side by side; one is expected.")
    if found.cut:
        said.append("The ink touches the border: some of the character may be missing.")
    if found.contrast < PALE:
        said.append(
            f"The ink is pale: it takes {100 * found.contrast:.0f} % of the paper's light. "
            "A darker pen would be safer."
        )
    if found.uneven > UNEVEN:
        said.append(
            f"The light is uneven: {100 * found.uneven:.0f} % of it is missing where the paper is "
            "darkest."
        )
    top, left, bottom, right = found.box
    if max(bottom - top, right - left) < SMALL:
        said.append(f"The ink is small: {right - left} x {bottom - top} pixels. Go nearer.")
    if found.left_out:
        pieces = "1 piece" if found.left_out == 1 else f"{found.left_out} pieces"
        said.append(f"{pieces} at the border {'was' if found.left_out == 1 else 'were'} left out.")
    return said

"""Labels against predictions: the sentence that describes them."""

import pandas as pd
import pytest

from siglum.lab.label_issues import contingency


@pytest.mark.parametrize(
    ("labels", "predictions", "finding"),
    [
        ("7" * 80, "7" * 79 + "1", "98.8 %."),  # one class cannot show independence
        ("abab" * 20, "aabb" * 20, "50.0 %. They are unrelated."),
    ],
)
def test_the_headline_names_their_relation(labels: str, predictions: str, finding: str) -> None:
    images = pd.DataFrame({"label": list(labels), "prediction": list(predictions)})
    assert contingency(images).headline.endswith(f"; chance {finding}")

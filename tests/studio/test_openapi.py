"""Requests made up from the description of the programs: none breaks the Studio."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from visiting import Client, drawing_of, serving

from siglum.studio import server
from siglum.studio.app import build
from siglum.studio.studio import Studio

EXAMPLES = 6  # of each program
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def poked(tmp_path_factory: pytest.TempPathFactory, backbone) -> Iterator[tuple[Studio, int]]:
    """A Studio with a little in it, and its port."""
    folder = tmp_path_factory.mktemp("poked") / "my-signs"
    with (
        closing(Studio(folder, backbone)) as opened,
        serving(opened, server.listen("127.0.0.1", 0)) as port,
    ):
        client = Client(port)
        for class_ in client.add("a", "b", "ring"):
            client.teach(class_, drawing_of("ring"))
        yield opened, port


@pytest.mark.slow
def test_no_request_breaks_the_studio(poked: tuple[Studio, int]) -> None:
    studio, port = poked
    own = f"http://127.0.0.1:{port}"
    # Of the stream of events no end would be seen.
    schema = schemathesis.openapi.from_dict(build(studio).openapi()).exclude(path="/api/events")
    operations = [result.ok() for result in schema.get_all_operations()]
    answered: set[int] = set()

    def ask(case: schemathesis.Case) -> None:
        answer = case.call_and_validate(base_url=own, headers={"Origin": own}, checks=CHECKS)
        answered.add(answer.status_code)

    for operation in operations:
        few(given(case=operation.as_strategy())(ask))()

    assert len(operations) == 20
    assert {200, 404, 422} <= answered


few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

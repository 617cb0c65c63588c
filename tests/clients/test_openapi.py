"""schemathesis: what docs/openapi.yaml says, valid and invalid, is what the gateway answers.

The numbers are bounded and the cases the same in each run, so that a red one can be run again. It has a namespace of its
own, whose objects are stopped and deleted by what is sent.
"""

from collections import defaultdict
from pathlib import Path

import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from conftest import NAMESPACE, TOKEN, URL

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/openapi.yaml"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}

schema = schemathesis.openapi.from_path(DOCUMENT)
seen = defaultdict(set)  # the statuses that each operation was answered with


def breaks_a_rule(case):
    """What is valid by the schemas and still refused: the rules that stand in the document's words only."""
    query, body = case.query or {}, case.body if isinstance(case.body, dict) else {}
    if any(name in query and f"${name}" in query for name in ("top", "skip")):
        return "both spellings of one parameter"
    items = [item for kind in ("executions", "deployments") if isinstance(body.get(kind), list) for item in body[kind]]
    ids = [str(item.get("id")) for item in items if isinstance(item, dict)]
    if len(ids) > len(set(ids)):
        return "an id twice"
    return None


def is_positive(case):
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


@schema.parametrize()
@settings(max_examples=25, derandomize=True, database=None, deadline=None,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_the_gateway_is_as_its_document_says(case):
    # In its own namespace where any would do, so that not all ends with 403 there.
    if is_positive(case) and "AI-Resource-Group" in (case.headers or {}):
        case.headers["AI-Resource-Group"] = NAMESPACE
    response = case.call(base_url=URL, headers=HEADERS, timeout=30)
    seen[case.operation.label].add(response.status_code)
    excluded = []
    rule = breaks_a_rule(case)
    if rule and is_positive(case):
        assert response.status_code == 400, f"{rule} is answered with {response.status_code}: {response.text}"
        excluded.append(positive_data_acceptance)
    # What can't be done in its state is no fault of the request.
    if response.status_code == 412 and case.method in ("PATCH", "DELETE"):
        excluded.append(positive_data_acceptance)
    # The token has to be there, and is not looked at: the document says so.
    if case.path == "/lm/meta":
        excluded.append(ignored_auth)
    case.validate_response(response, excluded_checks=excluded, headers=HEADERS)


def test_each_operation_was_reached():
    """That what was sent has got past RBAC to the objects, and that what is wrong was sent too."""
    for found in schema.get_all_operations():
        operation = found.ok()
        statuses = seen[operation.label]
        assert statuses & {200, 202, 412}, f"{operation.label} was only answered with {statuses}"
        if operation.path != "/lm/meta":
            assert 400 in statuses, f"{operation.label} was only answered with {statuses}"


def test_the_document_is_served():
    response = requests.get(URL.removesuffix("/v2") + "/openapi.yaml", timeout=30)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/yaml"
    assert response.content == DOCUMENT.read_bytes()

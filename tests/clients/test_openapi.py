"""schemathesis: the gateway's answers to valid and invalid requests match docs/openapi.yaml.

The numbers are bounded and the cases the same in each run, so that a red one can be run again. It has a namespace of
its own, whose objects are stopped and deleted by what is sent.
"""

from collections import defaultdict
from pathlib import Path

import pytest
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
kinds = pytest.mark.parametrize("kind", ["Execution", "Deployment"])


def breaks_a_rule(case):
    """Requests that the schemas allow and that are refused: rules that only the document's text has."""
    query, body = case.query or {}, case.body if isinstance(case.body, dict) else {}
    if any(name in query and f"${name}" in query for name in ("top", "skip", "order")):
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
    # In its own namespace where any is allowed, so that not everything is answered with 403.
    if is_positive(case) and "AI-Resource-Group" in (case.headers or {}):
        case.headers["AI-Resource-Group"] = NAMESPACE
    # One key may belong to one request only.
    if is_positive(case):
        (case.headers or {}).pop("Idempotency-Key", None)
    # A time that ends before it begins is refused, too.
    if is_positive(case) and {"start", "end"} <= (case.query or {}).keys():
        del case.query["end"]
    response = case.call(base_url=URL, headers=HEADERS, timeout=30)
    seen[case.operation.label].add(response.status_code)
    excluded = []
    rule = breaks_a_rule(case)
    if rule and is_positive(case):
        assert response.status_code == 400, f"{rule} is answered with {response.status_code}: {response.text}"
        excluded.append(positive_data_acceptance)
    # The request is valid even if the state of the target does not allow it.
    if response.status_code == 412 and case.method in ("PATCH", "DELETE"):
        excluded.append(positive_data_acceptance)
    case.validate_response(response, excluded_checks=excluded, headers=HEADERS)


def test_each_operation_was_reached():
    """Checks that invalid requests were sent to each operation, and that valid ones were not all refused by RBAC."""
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.startswith("/lm/meta") or operation.path == "/lm/healthz":
            assert 200 in seen[operation.label]
        else:
            assert 400 in seen[operation.label], f"{operation.label} was only answered with {seen[operation.label]}"
            assert seen[operation.label] & {200, 202, 404, 412}, f"{operation.label}: {seen[operation.label]}"


def ask(path, method, id=None, body=None, query=None):
    """One request of the document, checked against it; returns the answer."""
    operation = schema[path][method]
    parameters = {name: id for name in ("executionId", "deploymentId") if f"{{{name}}}" in path}
    more = {}
    if body is not None:
        more = {"body": body, "media_type": next(iter(operation.definition.raw["requestBody"]["content"]))}
    case = operation.Case(path_parameters=parameters, headers={"AI-Resource-Group": NAMESPACE}, query=query or {},
                          **more)
    return case.call_and_validate(base_url=URL, headers=HEADERS, timeout=30,
                                  excluded_checks=[positive_data_acceptance, ignored_auth])


@kinds
def test_what_is_done_is_answered_as_the_document_says(kind, cluster):
    running, dead = cluster.make(kind, "RUNNING", "DEAD")
    one = f"/lm/{kind.lower()}s/{{{kind.lower()}Id}}"
    many = f"/lm/{kind.lower()}s"
    assert ask(one, "PATCH", running, {"targetStatus": "STOPPED"}).status_code == 202
    assert ask(one, "PATCH", running, {"targetStatus": "STOPPED"}).status_code == 412
    assert ask(one, "DELETE", running).status_code == 202
    assert ask(one, "DELETE", running).status_code == 404
    items = [{"id": dead, "targetStatus": "DELETED"}, {"id": running, "targetStatus": "DELETED"}]
    done, refused = ask(many, "PATCH", body={many.split("/")[-1]: items}).json()[many.split("/")[-1]]
    assert "message" in done and "error" in refused
    assert ask(one, "GET", dead).status_code == 404


@kinds
@pytest.mark.parametrize("spec, status", [
    ({}, {}),
    ({"scenarioId": "churn", "configurationId": "config-7", "executableId": "trainer",
      "configurationName": "Churn, training (v2)"},
     {"state": "RUNNING", "targetStatus": "STOPPED", "message": "x" * 300, "submissionTime": "2026-01-02T03:04:05Z",
      "startTime": "2026-01-02T03:04:05.123456789Z", "completionTime": "2026-01-02T05:04:05+02:00"}),
    # Valid in the cluster, but not in the AI API.
    ({"scenarioId": "no id", "configurationId": "x" * 65, "executableId": "", "configurationName": "Größe – 7 🚀"},
     {"state": "COMPLETED", "targetStatus": "COMPLETED", "message": "ä" * 200}),
], ids=["empty", "full", "odd"])
def test_whatever_an_object_holds_is_shown_as_the_document_says(kind, spec, status, cluster):
    [name] = cluster.make(kind, "UNKNOWN", **spec)
    if status:
        cluster.set_status(kind, name, spec, status)
    many = f"/lm/{kind.lower()}s"
    for query in [{}, {"$select": "status"}]:
        assert ask(f"{many}/{{{kind.lower()}Id}}", "GET", name, query=query).status_code == 200
        assert name in [one["id"] for one in ask(many, "GET", query=query).json()["resources"]]


def test_the_document_is_served():
    response = requests.get(URL.removesuffix("/v2") + "/openapi.yaml", timeout=30)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/yaml"
    assert response.content == DOCUMENT.read_bytes()

"""SAP's Python SDK against the gateway: each answer as the SDK's own type, and the resulting state of the objects."""

import re
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from ai_api_client_sdk.exception import (
    AIAPIAuthorizationException,
    AIAPIInvalidRequestException,
    AIAPINotFoundException,
    AIAPIPreconditionFailedException,
    AIAPIServerException,
)
from ai_api_client_sdk.models.base_models import (
    BasicErrorResponse,
    BasicModifyRequest,
    BasicResponse,
    BulkModifyErrorResponse,
)
from ai_api_client_sdk.models.capabilities import Capabilities
from ai_api_client_sdk.models.deployment import Deployment
from ai_api_client_sdk.models.deployment_bulk_modify_response import DeploymentBulkModifyResponse
from ai_api_client_sdk.models.deployment_get_status_response import DeploymentGetStatusResponse
from ai_api_client_sdk.models.deployment_query_response import DeploymentQueryResponse
from ai_api_client_sdk.models.execution import Execution
from ai_api_client_sdk.models.execution_bulk_modify_response import ExecutionBulkModifyResponse
from ai_api_client_sdk.models.execution_get_status_response import ExecutionGetStatusResponse
from ai_api_client_sdk.models.execution_query_response import ExecutionQueryResponse
from ai_api_client_sdk.models.status import Status
from ai_api_client_sdk.models.target_status import TargetStatus
from ai_core_sdk.ai_core_v2_client import AICoreV2Client

from conftest import NAMESPACE, STATES, STRANGER, TOKEN, URL

STOPPED, DELETED = TargetStatus.STOPPED, TargetStatus.DELETED


class Of:
    """One kind, as the SDK calls it."""

    def __init__(self, kind, one, status_only, many, bulk, not_found, first_target):
        self.kind, self.one, self.status_only, self.many, self.bulk = kind, one, status_only, many, bulk
        self.not_found, self.first_target = not_found, first_target
        self.plural = f"{kind.lower()}s"
        self.scheduled = f"{kind} modification scheduled"
        self.deletion = f"{kind} deletion scheduled"

    def client(self, token=None, namespace=NAMESPACE):
        """With the client id and secret in the environment, or with this token."""
        # Without automatic retries, so that the gateway's own answer is seen.
        settings = {"resource_group": namespace, "num_request_retries": 0}
        if token is None:
            client = AICoreV2Client.from_env(**settings)
        else:
            client = AICoreV2Client(base_url=URL, token_creator=lambda: f"Bearer {token}", **settings)
        return getattr(client, self.kind.lower())

    def entries(self, response):
        assert type(response) is self.bulk
        return getattr(response, self.plural)

    def __repr__(self):
        return self.kind


EXECUTION = Of("Execution", Execution, ExecutionGetStatusResponse, ExecutionQueryResponse,
               ExecutionBulkModifyResponse, "01010020", TargetStatus.COMPLETED)
DEPLOYMENT = Of("Deployment", Deployment, DeploymentGetStatusResponse, DeploymentQueryResponse,
                DeploymentBulkModifyResponse, "01010016", TargetStatus.RUNNING)
both = pytest.mark.parametrize("of", [EXECUTION, DEPLOYMENT], ids=repr)


def accepted(entry, id, message):
    assert type(entry) is BasicResponse
    assert vars(entry) == {"id": id, "message": message}


def refused(entry, id, code, words, target):
    assert type(entry) is BulkModifyErrorResponse
    assert entry.id == id
    error = entry.error
    assert type(error) is BasicErrorResponse
    assert error.code == code
    assert words in error.message
    uuid.UUID(error.request_id)
    assert error.target == target
    assert error.details == {}


def failed(raised, kind, status, code, words):
    error = raised.value
    assert type(error) is kind
    assert error.status_code == status
    assert words in error.error_message
    if kind is not AIAPIAuthorizationException:  # which takes the whole body for the message
        assert error.error_code == code
        uuid.UUID(error.request_id)
        assert error.details == {}


def test_meta_has_the_flags(flags):
    client = AICoreV2Client.from_env()
    for executions, deployments in [(True, False), (False, True), (False, False), (True, True)]:
        flags(executions, deployments)
        time.sleep(1.1)  # a read of the flag is served for a second
        meta = client.meta.get()
        assert type(meta) is Capabilities
        assert meta.runtime_identifier == "ai-api-operator"
        assert re.fullmatch(r"\d+\.\d+\.\d+", meta.runtime_api_version)
        assert re.fullmatch(r"\d+\.\d+\.\d+", meta.ai_api.version)
        can = meta.ai_api.capabilities
        assert (can.bulk_updates.executions, can.bulk_updates.deployments) == (executions, deployments)
        assert can.multitenant is True
        # The SDK takes most missing fields for true, so they have to be present.
        for name in ["shareable", "static_deployments", "user_deployments", "time_to_live_deployments",
                     "user_executions", "execution_schedules"]:
            assert getattr(can, name) is False, name
        assert (can.logs.executions, can.logs.deployments) == (True, True)


@both
def test_bulk_modify_tells_of_each_item_in_the_order_of_the_request(of, cluster):
    stop = dict(zip(STATES, cluster.make(of.kind, *STATES)))
    delete = dict(zip(STATES, cluster.make(of.kind, *STATES)))
    absent, no_name = f"absent-{of.kind.lower()}", "No_Name.of.an_Object"
    asked = [(delete["RUNNING"], DELETED), (absent, STOPPED), (stop["PENDING"], STOPPED), (no_name, DELETED)]
    asked += [(delete[state], DELETED) for state in STATES if state != "RUNNING"]
    asked += [(stop[state], STOPPED) for state in reversed(STATES) if state != "PENDING"]
    response = of.client().bulk_modify([BasicModifyRequest(id, target) for id, target in asked])

    entries = of.entries(response)
    assert [entry.id for entry in entries] == [id for id, _ in asked]
    path = f"/v2/lm/{of.plural}"
    for entry, (id, target) in zip(entries, asked):
        if id in (absent, no_name):
            refused(entry, id, of.not_found, f"{of.kind} {id} does not exist", path)
            continue
        state = next(state for state in STATES if id in (stop[state], delete[state]))
        if state in (["PENDING", "RUNNING"] if target is STOPPED else ["UNKNOWN", "DEAD", "STOPPED"]):
            accepted(entry, id, of.scheduled)
        elif state == "STOPPING":
            # The operator itself completes the stop of these: it may be either by now.
            if type(entry) is BulkModifyErrorResponse:
                refused(entry, id, "01010076", "Current status STOP", path)
            else:
                accepted(entry, id, of.scheduled)
                assert target is DELETED
        else:
            refused(entry, id, "01010076", f"Current status {state} cannot be changed to {target.value}", path)
    assert len({entry.error.request_id for entry in entries if type(entry) is BulkModifyErrorResponse}) == 1

    for state in STATES:
        if state == "STOPPING":
            continue
        now = "STOPPED" if state in ("PENDING", "RUNNING") else state
        assert cluster.state(of.kind, stop[state]) == now
        now = "" if state in ("UNKNOWN", "DEAD", "STOPPED") else state
        assert cluster.state(of.kind, delete[state]) == now


@both
def test_what_another_controller_runs_is_asked_to_stop_once(of, cluster):
    [name] = cluster.make(of.kind, "RUNNING", managedBy="pipelines.example.com/runner")
    accepted(of.entries(of.client().bulk_modify([BasicModifyRequest(name, STOPPED)]))[0], name, of.scheduled)
    shown = of.client().get(name)
    assert (shown.status, shown.target_status) == (Status.RUNNING, STOPPED)
    [again] = of.entries(of.client().bulk_modify([BasicModifyRequest(name, STOPPED)]))
    refused(again, name, "StopPending", "a stop was requested before", f"/v2/lm/{of.plural}")


@both
def test_a_hundred_items_and_no_more(of, cluster):
    before = cluster.versions()
    asked = [BasicModifyRequest(f"absent-{n:03}", DELETED) for n in range(101)]
    with pytest.raises(AIAPIInvalidRequestException) as raised:
        of.client().bulk_modify(asked)
    failed(raised, AIAPIInvalidRequestException, 400, "BadRequest", "has 101 items: send 1 to 100")
    with pytest.raises(AIAPIInvalidRequestException) as raised:
        of.client().bulk_modify([])
    failed(raised, AIAPIInvalidRequestException, 400, "BadRequest", f"{of.plural} has 0 items")
    with pytest.raises(AIAPIInvalidRequestException) as raised:
        of.client().bulk_modify([asked[0], BasicModifyRequest(asked[0].id, STOPPED)])
    failed(raised, AIAPIInvalidRequestException, 400, "BadRequest", f"{asked[0].id} is repeated")
    assert cluster.versions() == before

    entries = of.entries(of.client().bulk_modify(asked[:100]))
    assert [entry.id for entry in entries] == [item.id for item in asked[:100]]
    for entry in entries:
        refused(entry, entry.id, of.not_found, "does not exist", f"/v2/lm/{of.plural}")


@both
def test_get_shows_the_object(of, cluster):
    began = datetime.now(timezone.utc) - timedelta(seconds=2)
    spec = {"scenarioId": "churn", "configurationId": "churn-training-7", "configurationName": "Churn training",
            "executableId": "trainer"}
    [name] = cluster.make(of.kind, "RUNNING", **spec)
    shown = of.client().get(name)
    assert type(shown) is of.one
    assert (shown.id, shown.status, shown.target_status) == (name, Status.RUNNING, of.first_target)
    assert (shown.scenario_id, shown.configuration_id, shown.configuration_name) == (
        "churn", "churn-training-7", "Churn training")
    now = datetime.now(timezone.utc) + timedelta(seconds=2)
    assert began <= shown.created_at.replace(tzinfo=timezone.utc) <= now
    assert shown.created_at <= shown.modified_at
    assert shown.modified_at.replace(tzinfo=timezone.utc) <= now
    if of is DEPLOYMENT:
        assert shown.deployment_url == ""

    part = of.client().get(name, select="status")
    assert type(part) is of.status_only
    assert (part.id, part.configuration_id, part.status) == (name, "churn-training-7", Status.RUNNING)
    assert (part.created_at, part.modified_at) == (shown.created_at, shown.modified_at)


@both
def test_get_shows_each_state(of, cluster):
    # Managed by another controller, so that STOPPING stays.
    for name, state in zip(cluster.make(of.kind, *STATES, managedBy="pipelines.example.com/runner"), STATES):
        assert of.client().get(name).status is Status(state)


@both
def test_get_of_an_object_that_tells_nothing(of, cluster):
    [name] = cluster.make(of.kind, "UNKNOWN")
    shown = of.client().get(name)
    assert type(shown) is of.one
    assert (shown.scenario_id, shown.configuration_id, shown.configuration_name) == ("unknown", "unknown", "")
    assert (shown.status, shown.target_status) == (Status.UNKNOWN, of.first_target)


@both
def test_query_and_count(of, cluster):
    scenario = f"query-{uuid.uuid4().hex[:12]}"
    others = {"managedBy": "pipelines.example.com/runner", "scenarioId": scenario}
    first = cluster.make(of.kind, *STATES, **others, configurationId="config-a", executableId="exec-a")
    second = cluster.make(of.kind, "RUNNING", "DEAD", **others, configurationId="config-b", executableId="exec-b")
    ids = sorted(first + second)
    client = of.client()

    def found(**filters):
        response = client.query(scenario_id=scenario, **filters)
        assert type(response) is of.many
        assert all(type(one) is of.one and one.scenario_id == scenario for one in response.resources)
        assert response.count == len(response.resources)
        return [one.id for one in response.resources]

    def number(**filters):
        count = client.count(scenario_id=scenario, **filters)
        assert type(count) is int
        return count

    assert found() == ids and number() == 9
    assert found(configuration_id="config-b") == sorted(second) and number(configuration_id="config-b") == 2
    assert found(status=Status.RUNNING) == sorted([first[STATES.index("RUNNING")], second[0]])
    assert number(status=Status.RUNNING) == 2
    assert found(executable_ids=["exec-b"]) == sorted(second) and number(executable_ids=["exec-b"]) == 2
    assert found(executable_ids=["exec-a", "exec-b"]) == ids and number(executable_ids=["exec-a", "exec-b"]) == 9
    assert found(configuration_id="config-a", status=Status.DEAD) == [first[STATES.index("DEAD")]]
    assert found(executable_ids=["none-such"]) == [] and number(executable_ids=["none-such"]) == 0
    if of is EXECUTION:
        assert found(execution_schedule_id="nightly") == [] and number(execution_schedule_id="nightly") == 0
    # Pages: no object is missing or returned twice.
    assert found(top=4) == ids[:4]
    assert found(top=4, skip=4) == ids[4:8]
    assert found(top=4, skip=8) == ids[8:]
    assert found(skip=9) == []
    assert client.count() >= 9


def test_the_namespace_is_that_of_the_request(cluster):
    [name] = cluster.make("Execution", "RUNNING")
    elsewhere = EXECUTION.client(namespace="team-javascript")
    assert name not in [one.id for one in elsewhere.query().resources]
    with pytest.raises(AIAPINotFoundException):
        elsewhere.get(name)
    assert elsewhere.get(name, resource_group=NAMESPACE).id == name
    [entry] = EXECUTION.entries(elsewhere.bulk_modify([BasicModifyRequest(name, STOPPED)]))
    refused(entry, name, "01010020", "does not exist", "/v2/lm/executions")
    assert cluster.state("Execution", name) == "RUNNING"


@both
def test_modify_stops_one(of, cluster):
    for name in cluster.make(of.kind, "PENDING", "RUNNING"):
        response = of.client().modify(name, STOPPED)
        accepted(response, name, of.scheduled)
        assert cluster.state(of.kind, name) == "STOPPED"


@both
def test_delete_deletes_one(of, cluster):
    for name in cluster.make(of.kind, "UNKNOWN", "DEAD", "STOPPED"):
        response = of.client().delete(name)
        accepted(response, name, of.deletion)
        assert cluster.state(of.kind, name) == ""


@both
def test_404_for_what_is_not_there(of, cluster):
    before = cluster.versions()
    client = of.client()
    for id in ["absent-0001", "No_Name.of.an_Object"]:
        for read in [client.get, client.query_logs]:
            with pytest.raises(AIAPINotFoundException) as raised:
                read(id)
            failed(raised, AIAPINotFoundException, 404, of.not_found, f"{of.kind} {id} does not exist")
    assert cluster.versions() == before
    for id in ["absent-0001", "No_Name.of.an_Object"]:
        for ask in [lambda: client.modify(id, STOPPED), lambda: client.delete(id)]:
            with pytest.raises(AIAPINotFoundException) as raised:
                ask()
            failed(raised, AIAPINotFoundException, 404, of.not_found, f"{of.kind} {id} does not exist")


@both
def test_412_for_the_wrong_state(of, cluster):
    dead, running = cluster.make(of.kind, "DEAD", "RUNNING")
    with pytest.raises(AIAPIPreconditionFailedException) as raised:
        of.client().modify(dead, STOPPED)
    failed(raised, AIAPIPreconditionFailedException, 412, "01010076",
           "Current status DEAD cannot be changed to STOPPED")
    with pytest.raises(AIAPIPreconditionFailedException) as raised:
        of.client().delete(running)
    failed(raised, AIAPIPreconditionFailedException, 412, "01010076",
           "Current status RUNNING cannot be changed to DELETED")
    assert cluster.state(of.kind, dead) == "DEAD"
    assert cluster.state(of.kind, running) == "RUNNING"


@both
def test_400_while_the_flag_is_off(of, cluster, flags):
    [running, stopped] = cluster.make(of.kind, "RUNNING", "STOPPED")
    flags(of is not EXECUTION, of is not DEPLOYMENT)
    client = of.client()
    for ask in [lambda: client.bulk_modify([BasicModifyRequest(running, STOPPED)]),
                lambda: client.modify(running, STOPPED),
                lambda: client.delete(stopped)]:
        with pytest.raises(AIAPIInvalidRequestException) as raised:
            ask()
        failed(raised, AIAPIInvalidRequestException, 400, "BulkUpdatesDisabled",
               f"bulk updates of {of.plural} are disabled in ConfigMap")
    assert cluster.state(of.kind, running) == "RUNNING"
    assert cluster.state(of.kind, stopped) == "STOPPED"
    # It is not needed for the other kind or for reading.
    other = DEPLOYMENT if of is EXECUTION else EXECUTION
    [name] = cluster.make(other.kind, "RUNNING")
    accepted(other.client().modify(name, STOPPED), name, other.scheduled)
    assert client.get(running).status is Status.RUNNING
    flags(True, True)
    time.sleep(1)
    # Rejected requests stay rejected.
    assert cluster.state(of.kind, running) == "RUNNING"
    accepted(client.modify(running, STOPPED), running, of.scheduled)


@both
def test_403_without_rights(of, cluster):
    [running, stopped] = cluster.make(of.kind, "RUNNING", "STOPPED")
    before = cluster.versions()
    client = of.client(token=STRANGER)
    for ask in [lambda: client.bulk_modify([BasicModifyRequest(running, STOPPED)]),
                lambda: client.modify(running, STOPPED),
                lambda: client.delete(stopped),
                lambda: client.get(running),
                lambda: client.query(),
                lambda: client.count()]:
        with pytest.raises(AIAPIServerException) as raised:
            ask()
        failed(raised, AIAPIServerException, 403, "Forbidden", "system:serviceaccount:callers:stranger")
    assert cluster.versions() == before


@both
def test_401_without_a_token_that_counts(of, cluster):
    [running] = cluster.make(of.kind, "RUNNING")
    before = cluster.versions()
    head, body, signature = TOKEN.split(".")
    forged = f"{head}.{body}.{'A' * len(signature)}"
    for token in ["nonsense", forged, ""]:
        client = of.client(token=token)
        for ask in [lambda: client.bulk_modify([BasicModifyRequest(running, STOPPED)]),
                    lambda: client.delete(running), lambda: client.get(running), lambda: client.query()]:
            with pytest.raises(AIAPIAuthorizationException) as raised:
                ask()
            failed(raised, AIAPIAuthorizationException, 401, "Unauthorized", '"code":"Unauthorized"')
    assert cluster.versions() == before


@both
def test_a_malformed_id_or_namespace_is_no_request(of, cluster):
    before = cluster.versions()
    for ask in [lambda: of.client().get("abc"),
                lambda: of.client().delete("x" * 65),
                lambda: of.client().bulk_modify([BasicModifyRequest("a b c d", STOPPED)]),
                lambda: of.client(namespace="Team_A").query(),
                lambda: of.client(namespace="..").query()]:
        with pytest.raises(AIAPIInvalidRequestException) as raised:
            ask()
        failed(raised, AIAPIInvalidRequestException, 400, "BadRequest", "")
    with pytest.raises(AIAPIInvalidRequestException) as raised:
        AICoreV2Client(base_url=URL, token_creator=lambda: f"Bearer {TOKEN}").execution.query()
    failed(raised, AIAPIInvalidRequestException, 400, "BadRequest", "AI-Resource-Group is missing")
    assert cluster.versions() == before


def test_the_configuration_of_a_deployment_stays(cluster):
    [name] = cluster.make("Deployment", "RUNNING", configurationId="config-a")
    before = cluster.versions()
    with pytest.raises(AIAPIInvalidRequestException) as raised:
        DEPLOYMENT.client().modify(name, configuration_id="config-b")
    failed(raised, AIAPIInvalidRequestException, 400, "BadRequest", "cannot be changed here")
    assert cluster.versions() == before

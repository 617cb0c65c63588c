"""How SAP's Python SDK gets its token, and what its other methods get."""

import inspect
import json
import os
import re
from pathlib import Path

import pytest
from ai_api_client_sdk.ai_api_v2_client import AIAPIV2Client
from ai_api_client_sdk.exception import (
    AIAPIAuthenticatorAuthorizationException,
    AIAPIAuthorizationException,
    AIAPIInvalidInputException,
    AIAPINotFoundException,
    AIAPIServerException,
)
from ai_api_client_sdk.models.base_models import BasicModifyRequest
from ai_api_client_sdk.models.healthz_status import HealthStatus
from ai_api_client_sdk.models.target_status import TargetStatus
from ai_core_sdk.ai_core_v2_client import AICoreV2Client
from ai_core_sdk.exception import AICoreInvalidInputException

from conftest import NAMESPACE, TOKEN, URL

DOCUMENT = Path(os.environ["AI_API_DOCUMENT"]).read_text(encoding="utf-8")


@pytest.fixture
def service_key(monkeypatch):
    """Only a service key in the environment, as SAP's JavaScript SDK reads it, too."""
    key = {"clientid": os.environ["AICORE_CLIENT_ID"], "clientsecret": os.environ["AICORE_CLIENT_SECRET"],
           "url": os.environ["AICORE_AUTH_URL"], "serviceurls": {"AI_API_URL": os.environ["AICORE_BASE_URL"]}}
    for name in ["CLIENT_ID", "CLIENT_SECRET", "AUTH_URL", "BASE_URL"]:
        monkeypatch.delenv(f"AICORE_{name}")
    monkeypatch.setenv("AICORE_SERVICE_KEY", json.dumps(key))


def test_a_service_key(cluster, service_key):
    [running, dead] = cluster.make("Execution", "RUNNING", "DEAD")
    client = AICoreV2Client.from_env()
    assert client.meta.get().ai_api.capabilities.bulk_updates.executions is True
    answer = client.execution.bulk_modify([BasicModifyRequest(running, TargetStatus.STOPPED),
                                           BasicModifyRequest(dead, TargetStatus.DELETED)])
    assert [entry.message for entry in answer.executions] == ["Execution modification scheduled"] * 2
    assert cluster.state("Execution", running) == "STOPPED"
    assert cluster.state("Execution", dead) == ""


def test_a_wrong_secret(monkeypatch, cluster):
    monkeypatch.setenv("AICORE_CLIENT_SECRET", "wrong")
    with pytest.raises(AIAPIAuthenticatorAuthorizationException) as raised:
        AICoreV2Client.from_env().execution.query()
    assert raised.value.status_code == 401
    assert '"error":"invalid_client"' in raised.value.error_message


def test_a_client_without_rights(monkeypatch, cluster):
    [running] = cluster.make("Execution", "RUNNING")
    monkeypatch.setenv("AICORE_CLIENT_ID", "stranger")
    client = AICoreV2Client.from_env()
    # Whom it knows may read what the server can do.
    assert client.meta.get().runtime_identifier == "ai-api-operator"
    for ask in [client.execution.query, lambda: client.execution.modify(running, TargetStatus.STOPPED)]:
        with pytest.raises(AIAPIServerException) as raised:
            ask()
        assert (raised.value.status_code, raised.value.error_code) == (403, "Forbidden")
        assert 'User "oidc:stranger"' in raised.value.error_message
    assert cluster.state("Execution", running) == "RUNNING"


def test_a_token_for_another_service(monkeypatch, cluster):
    [running] = cluster.make("Execution", "RUNNING")
    monkeypatch.setenv("AICORE_CLIENT_ID", "other-service")
    client = AICoreV2Client.from_env()
    for ask in [client.meta.get, client.execution.query,
                lambda: client.execution.modify(running, TargetStatus.STOPPED)]:
        with pytest.raises(AIAPIAuthorizationException) as raised:
            ask()
        assert raised.value.status_code == 401
        assert "does not accept the bearer token" in raised.value.error_message
    assert cluster.state("Execution", running) == "RUNNING"


def test_the_version_and_the_health():
    [version] = AICoreV2Client.from_env().meta.get_versions().versions
    assert (version.version_id, version.url) == ("v2", "/v2")
    health = AIAPIV2Client(base_url=f"{URL}/lm", token_creator=lambda: f"Bearer {TOKEN}").healthz.get()
    assert health.status is HealthStatus.READY


@pytest.mark.parametrize("kind", ["execution", "deployment"])
def test_nothing_can_be_created(kind):
    with pytest.raises(AIAPIServerException) as raised:
        getattr(AICoreV2Client.from_env(), kind).create("config-a")
    assert (raised.value.status_code, raised.value.error_code) == (405, "MethodNotAllowed")


def own_methods(client):
    return [name for name, _ in inspect.getmembers(type(client), inspect.isfunction)
            if name in vars(type(client)) and not name.startswith("_")]


def clients():
    """The SDK's clients by the name under which a user finds them."""
    core = AICoreV2Client.from_env(num_request_retries=0)
    other = AIAPIV2Client(base_url=f"{URL}/lm", token_creator=lambda: f"Bearer {TOKEN}", resource_group=NAMESPACE,
                          num_request_retries=0)
    found = {**vars(other), **vars(core)}
    return {name: client for name, client in found.items() if name not in ("base_url", "rest_client")}


SERVED = {"execution", "deployment", "meta", "healthz"}


def test_what_is_not_served_is_404_with_a_sentence():
    asked = 0
    for name, client in clients().items():
        for method in own_methods(client) if name not in SERVED else []:
            call = getattr(client, method)
            required = [parameter for parameter in inspect.signature(call).parameters.values()
                        if parameter.default is inspect.Parameter.empty]
            # Others take objects of the SDK's.
            if not all(parameter.annotation is str for parameter in required):
                continue
            try:
                with pytest.raises(AIAPINotFoundException) as raised:
                    call(*["abcd" for _ in required])
            except (AIAPIInvalidInputException, AICoreInvalidInputException):
                # The SDK itself wants more.
                continue
            assert re.search(r"of the AI API is not served here: /openapi.yaml", raised.value.error_message), method
            asked += 1
    assert asked >= 20, asked


def test_the_table_of_the_documentation_has_each_method():
    table = "\n".join(line for line in DOCUMENT.splitlines() if line.startswith("|"))
    for name, client in clients().items():
        for method in [f"{name}.{method}" for method in own_methods(client)] if name in SERVED else [name]:
            assert f"`{method}`" in table, method

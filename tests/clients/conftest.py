"""What dev/check/clients has set up: a gateway, an operator, and a namespace with the workloads of examples/."""

import json
import os
import subprocess
from uuid import uuid4

import pytest

URL = os.environ["AI_API_URL"]
TOKEN = os.environ["AI_API_TOKEN"]
STRANGER = os.environ["AI_API_TOKEN_OF_STRANGER"]
NAMESPACE = os.environ["AI_API_NAMESPACE"]
STATES = ["UNKNOWN", "PENDING", "RUNNING", "COMPLETED", "DEAD", "STOPPING", "STOPPED"]


def kubectl(*arguments, stdin=None):
    """As the cluster's admin."""
    ran = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True)
    assert ran.returncode == 0, f"kubectl {arguments}: {ran.stderr}"
    return ran.stdout


def set_flags(executions, deployments):
    patch = {"data": {"bulkUpdates": json.dumps({"executions": executions, "deployments": deployments})}}
    kubectl("patch", "configmap", "ai-api-meta", "-n", "ai-api-system", "--type=merge", "-p", json.dumps(patch))


class Cluster:
    """The test's own objects, and their present state."""

    def make(self, kind, *states, **spec):
        """One object in each of these states; returns the names."""
        names = [f"made-{uuid4().hex[:12]}" for _ in states]
        objects = [self.object(kind, name, spec) for name in names]
        kubectl("create", "-n", NAMESPACE, "-f", "-", stdin=self.list(objects))
        with_state = [self.object(kind, name, spec, {"state": state})
                for name, state in zip(names, states) if state != "UNKNOWN"]
        if with_state:
            kubectl("replace", "-n", NAMESPACE, "--subresource=status", "-f", "-", stdin=self.list(with_state))
        return names

    def set_status(self, kind, name, spec, status):
        updated = json.dumps(self.object(kind, name, spec, status))
        kubectl("replace", "-n", NAMESPACE, "--subresource=status", "-f", "-", stdin=updated)

    def state(self, kind, name):
        """Its state, or None if it is gone."""
        return kubectl("get", "-n", NAMESPACE, f"{kind.lower()}s.aiapi.dev", name, "--ignore-not-found",
                       "-o", "jsonpath={.status.state}")

    def versions(self):
        """Changes if a target is created, written or deleted, or a BulkUpdate is created."""
        targets = kubectl("get", "-n", NAMESPACE, "executions.aiapi.dev,deployments.aiapi.dev", "-o",
                          "jsonpath={range .items[*]}{.metadata.uid}={.metadata.resourceVersion} {end}")
        return targets + kubectl("get", "-n", NAMESPACE, "bulkupdates", "-o", "name")

    @staticmethod
    def object(kind, name, spec, status=None):
        head = {"apiVersion": "aiapi.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        return head if status is None else head | {"status": status}

    @staticmethod
    def list(objects):
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def flags():
    """Sets the flags; they are on again after the test."""
    yield set_flags
    set_flags(True, True)

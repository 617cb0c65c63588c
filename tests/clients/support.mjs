// What dev/check/clients has set up, as the tests of the JavaScript SDK use it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';

export const { AI_API_URL: URL, AI_API_NAMESPACE: NAMESPACE } = process.env;
export const STATES = ['UNKNOWN', 'PENDING', 'RUNNING', 'COMPLETED', 'DEAD', 'STOPPING', 'STOPPED'];

/** As the cluster's admin. */
export function kubectl(arguments_, input) {
  return execFileSync('kubectl', arguments_, { input, encoding: 'utf8' });
}

export function setFlags(executions, deployments) {
  const patch = JSON.stringify({ data: { bulkUpdates: JSON.stringify({ executions, deployments }) } });
  kubectl(['patch', 'configmap', 'ai-api-meta', '-n', 'ai-api-system', '--type=merge', '-p', patch]);
}

/** One object in each of these states, with the rest of its status; returns the names. */
export function make(kind, states, spec = {}, status = {}) {
  const objects = states.map((state) => ({
    apiVersion: 'aiapi.dev/v1alpha1',
    kind,
    metadata: { name: `made-${randomUUID().slice(0, 13)}` },
    spec,
    status: { ...status, state },
  }));
  const list = (items) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  kubectl(['create', '-n', NAMESPACE, '-f', '-'], list(objects));
  kubectl(['replace', '-n', NAMESPACE, '--subresource=status', '-f', '-'], list(objects));
  return objects.map((object) => object.metadata.name);
}

/** Its state, or nothing if it is gone. */
export function state(kind, name) {
  const path = 'jsonpath={.status.state}';
  const resource = `${kind.toLowerCase()}s.aiapi.dev`;
  return kubectl(['get', '-n', NAMESPACE, resource, name, '--ignore-not-found', '-o', path]);
}

/** Checks that the SDK throws the AI API's error, with this status. */
export async function fails(request, status, code, words) {
  await assert.rejects(request.execute(), (thrown) => {
    assert.equal(thrown.message, `Request failed with status code ${status}.`);
    assert.equal(thrown.cause.response.status, status);
    isError(thrown.cause.response.data.error, code, words);
    return true;
  });
}

/** Checks an error of the AI API: of a request, or of an item. */
export function isError(error, code, words) {
  assert.deepEqual(Object.keys(error).sort(), ['code', 'details', 'message', 'requestId', 'target']);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, words);
}

// SAP's JavaScript SDK against the gateway, as its users start it: with a service key in the environment. What each call
// returns, and the resulting state of the objects.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import * as sdk from '@sap-ai-sdk/ai-api';
import { NAMESPACE, STATES, URL, fails, isError, make, setFlags, state } from './support.mjs';

// Managed by another controller, so that STOPPING stays.
const OF_ANOTHER = { managedBy: 'pipelines.example.com/runner' };
const GROUP = { 'AI-Resource-Group': NAMESPACE };

/** One kind, as the SDK calls it. */
function kind(name, logs, notFound, target) {
  const api = sdk[`${name}Api`];
  const one = name.toLowerCase();
  const call = (method) => api[`${one}${method}`];
  return {
    name,
    notFound,
    target,
    plural: `${one}s`,
    scheduled: `${name} modification scheduled`,
    bulk: (items, group = GROUP) => call('BatchModify')({ [`${one}s`]: items }, group),
    create: () => call('Create')({ configurationId: 'config-a' }, GROUP),
    get: (id, query = {}) => call('Get')(id, query, GROUP),
    logs: (id) => api[logs](id, {}, GROUP),
    modify: (id, body = { targetStatus: 'STOPPED' }) => call('Modify')(id, body, GROUP),
    delete: (id) => call('Delete')(id, GROUP),
    query: (filters = {}, group = GROUP) => call('Query')(filters, group),
    count: (filters = {}) => call('Count')(filters, GROUP),
  };
}
const KINDS = [
  kind('Execution', 'kubesubmitV4ExecutionsGetLogs', '01010020', 'COMPLETED'),
  kind('Deployment', 'kubesubmitV4DeploymentsGetLogs', '01010016', 'RUNNING'),
];
/** A test for each kind. */
function both(what, run) {
  for (const of of KINDS) test(`${what}: ${of.name}`, () => run(of));
}

// The flags are on again for the next client.
after(() => setFlags(true, true));

test('meta has the flags', async () => {
  for (const [executions, deployments] of [[true, false], [false, true], [true, true]]) {
    setFlags(executions, deployments);
    // A read of the flag is served for a second.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const meta = await sdk.MetaApi.metaGet().execute();
    assert.equal(meta.runtimeIdentifier, 'ai-api-operator');
    assert.deepEqual(meta.aiApi.capabilities.bulkUpdates, { executions, deployments });
    assert.deepEqual(meta.aiApi.capabilities.logs, { executions: true, deployments: true });
  }
});

both('a bulk PATCH tells of each item in the order of the request', async (of) => {
  const ids = make(of.name, ['PENDING', 'RUNNING', 'DEAD', 'UNKNOWN', 'COMPLETED']);
  const [pending, running, dead, unknown, completed] = ids;
  const asked = [
    [dead, 'DELETED'],
    [running, 'STOPPED'],
    ['absent-0001', 'STOPPED'],
    [completed, 'DELETED'],
    [unknown, 'DELETED'],
    [pending, 'STOPPED'],
  ];
  const response = await of.bulk(asked.map(([id, targetStatus]) => ({ id, targetStatus }))).executeRaw();
  assert.equal(response.status, 202);
  assert.deepEqual(Object.keys(response.data), [of.plural]);
  const entries = response.data[of.plural];
  assert.deepEqual(entries.map((entry) => entry.id), asked.map(([id]) => id));
  for (const { id, error, ...rest } of entries) {
    if (id === 'absent-0001') isError(error, of.notFound, /absent-0001 does not exist/);
    else if (id === completed) isError(error, '01010076', /^Current status COMPLETED cannot be changed to DELETED/);
    else assert.deepEqual(rest, { message: of.scheduled });
  }
  assert.deepEqual(ids.map((id) => state(of.name, id)), ['STOPPED', 'STOPPED', '', '', 'COMPLETED']);
});

both('a bulk PATCH that is not valid is refused as a whole', async (of) => {
  const [running] = make(of.name, ['RUNNING']);
  const stop = { id: running, targetStatus: 'STOPPED' };
  await fails(of.bulk([]), 400, 'BadRequest', new RegExp(`${of.plural} has 0 items`));
  await fails(of.bulk([stop, stop]), 400, 'BadRequest', /is repeated/);
  await fails(of.bulk([stop, { ...stop, targetStatus: 'RUNNING' }]), 400, 'BadRequest', /targetStatus/);
  const many = Array.from({ length: 101 }, (_, n) => ({ ...stop, id: `absent-${n}` }));
  await fails(of.bulk(many), 400, 'BadRequest', /has 101 items: send 1 to 100/);
  assert.equal(state(of.name, running), 'RUNNING');
});

both('a single PATCH stops, and a DELETE deletes', async (of) => {
  const [running, dead] = make(of.name, ['RUNNING', 'DEAD']);
  assert.deepEqual(await of.modify(running).execute(), { id: running, message: of.scheduled });
  assert.equal(state(of.name, running), 'STOPPED');
  for (const id of [running, dead]) {
    assert.deepEqual(await of.delete(id).execute(), { id, message: `${of.name} deletion scheduled` });
    assert.equal(state(of.name, id), '');
  }
});

both('404 for what is not there, and 412 for the wrong state', async (of) => {
  for (const request of [of.get, of.modify, of.delete, of.logs]) {
    await fails(request('absent-0001'), 404, of.notFound, /absent-0001 does not exist/);
  }
  const [dead, running] = make(of.name, ['DEAD', 'RUNNING']);
  await fails(of.modify(dead), 412, '01010076', /^Current status DEAD cannot be changed to STOPPED/);
  await fails(of.delete(running), 412, '01010076', /^Current status RUNNING cannot be changed to DELETED/);
  assert.deepEqual([dead, running].map((id) => state(of.name, id)), ['DEAD', 'RUNNING']);
});

both('a GET shows the object', async (of) => {
  const spec = { ...OF_ANOTHER, scenarioId: 'churn', configurationId: 'config-a', configurationName: 'Churn' };
  const ids = make(of.name, STATES, spec);
  for (const [n, id] of ids.entries()) {
    const shown = await of.get(id).execute();
    assert.ok(Math.abs(Date.parse(shown.createdAt) - Date.now()) < 120_000, shown.createdAt);
    assert.deepEqual(
      [shown.id, shown.status, shown.targetStatus, shown.scenarioId, shown.configurationId, shown.configurationName],
      [id, STATES[n], of.target, 'churn', 'config-a', 'Churn'],
    );
    const part = await of.get(id, { $select: 'status' }).execute();
    assert.deepEqual([part.id, part.status, part.createdAt], [id, STATES[n], shown.createdAt]);
    assert.equal('scenarioId' in part, false);
  }
});

both('lists and counts', async (of) => {
  const scenarioId = `list-${of.plural}`;
  const spec = { ...OF_ANOTHER, scenarioId };
  const first = make(of.name, STATES, { ...spec, configurationId: 'config-a', executableId: 'exec-a' });
  const second = make(of.name, ['RUNNING'], { ...spec, configurationId: 'config-b', executableId: 'exec-b' });
  const all = [...first, ...second].sort();
  for (const [filters, ids] of [
    [{}, all],
    [{ configurationId: 'config-b' }, second],
    [{ status: 'RUNNING' }, [first[STATES.indexOf('RUNNING')], ...second].sort()],
    [{ executableIds: ['exec-b'] }, second],
    [{ executableIds: ['exec-a', 'exec-b'] }, all],
    [{ executableIds: ['none-such'] }, []],
  ]) {
    const list = await of.query({ scenarioId, ...filters }).execute();
    assert.deepEqual(list.resources.map((one) => one.id), ids, JSON.stringify(filters));
    assert.equal(list.count, ids.length);
    assert.equal(await of.count({ scenarioId, ...filters }).execute(), ids.length);
  }
  for (const [$top, $skip, ids] of [[3, 0, all.slice(0, 3)], [3, 3, all.slice(3, 6)], [3, 6, all.slice(6)]]) {
    const page = await of.query({ scenarioId, $top, $skip, $select: 'status' }).execute();
    assert.deepEqual(page.resources.map((one) => one.id), ids);
    assert.ok(page.resources.every((one) => !('scenarioId' in one)));
  }
  // Where this client has no rights.
  await fails(of.query({}, { 'AI-Resource-Group': 'callers' }), 403, 'Forbidden', /User "oidc:cleanup-job" cannot list/);
});

both('400 while the flag is off', async (of) => {
  const [running] = make(of.name, ['RUNNING']);
  setFlags(of !== KINDS[0], of !== KINDS[1]);
  try {
    for (const request of [of.modify(running), of.bulk([{ id: running, targetStatus: 'STOPPED' }])]) {
      await fails(request, 400, 'BulkUpdatesDisabled', new RegExp(`bulk updates of ${of.plural} are disabled`));
    }
  } finally {
    setFlags(true, true);
  }
  assert.equal(state(of.name, running), 'RUNNING');
});

// What the documentation has for those without a provider: a destination with a token of the cluster.
const withToken = (token) => ({ url: URL, headers: { Authorization: `Bearer ${token}` } });

both('a destination with a token, 401 without one that counts, 403 without rights', async (of) => {
  const [running] = make(of.name, ['RUNNING']);
  const { AI_API_TOKEN: token, AI_API_TOKEN_OF_STRANGER: stranger } = process.env;
  assert.equal((await of.get(running).execute(withToken(token))).id, running);
  const forged = token.replace(/[^.]*$/, (signature) => 'A'.repeat(signature.length));
  for (const request of [of.get(running), of.query(), of.modify(running), sdk.MetaApi.metaGet()]) {
    await fails({ execute: () => request.execute(withToken(forged)) }, 401, 'Unauthorized', /does not accept/);
  }
  for (const request of [of.get(running), of.query(), of.modify(running)]) {
    const asStranger = { execute: () => request.execute(withToken(stranger)) };
    await fails(asStranger, 403, 'Forbidden', /system:serviceaccount:callers:stranger/);
  }
  assert.equal(state(of.name, running), 'RUNNING');
});

/** What the SDK throws in a process of its own, because it reads the service key once. */
async function thrownWith(clientid, clientsecret) {
  const key = JSON.parse(process.env.AICORE_SERVICE_KEY);
  const AICORE_SERVICE_KEY = JSON.stringify({ ...key, clientid, clientsecret: clientsecret ?? key.clientsecret });
  const code = `
    import { ExecutionApi } from '@sap-ai-sdk/ai-api';
    await ExecutionApi.executionQuery({}, ${JSON.stringify(GROUP)}).execute().catch((thrown) => {
      console.log(thrown.cause.response?.data.error.message ?? thrown.cause.message);
    });`;
  const env = { ...process.env, AICORE_SERVICE_KEY };
  const { stdout } = await promisify(execFile)('node', ['--input-type=module', '--eval', code], { env });
  return stdout;
}

test('a wrong secret, a client without rights, and one whose tokens are for another service', async () => {
  assert.match(await thrownWith('cleanup-job', 'wrong'), /oauth\/token was 401: {"error":"invalid_client"/);
  assert.match(await thrownWith('stranger'), /^executions.aiapi.dev is forbidden: User "oidc:stranger" cannot list/);
  assert.match(await thrownWith('other-service'), /^the Kubernetes API does not accept the bearer token/);
});

both('nothing can be created, and the configuration of a deployment cannot be changed', async (of) => {
  await fails(of.create(), 405, 'MethodNotAllowed', /does not take the method/);
  if (of.name === 'Deployment') {
    const [running] = make(of.name, ['RUNNING']);
    await fails(of.modify(running, { configurationId: 'config-b' }), 400, 'BadRequest', /cannot be changed here/);
  }
});

test('the URL of the running deployment is found', async () => {
  const scenarioId = 'resolved';
  const url = 'https://models.example.com/resolved';
  make('Deployment', ['STOPPED', 'RUNNING'], { scenarioId }, { url });
  assert.equal(await sdk.resolveDeploymentUrl({ scenarioId, resourceGroup: NAMESPACE }), url);
});

// The APIs that are served, at least in part. docs/gateway.md has a table of their methods.
const SERVED = ['ExecutionApi', 'DeploymentApi', 'MetaApi'];
const methods = (api) => Object.keys(sdk[api]).filter((name) => typeof sdk[api][name] === 'function');

test('what is not served is 404 with a sentence, in each of its methods', async () => {
  const apis = Object.keys(sdk).filter((name) => name.endsWith('Api') && !SERVED.includes(name));
  assert.ok(apis.length > 15, apis.join());
  for (const api of apis) {
    for (const name of methods(api)) {
      const method = sdk[api][name];
      const parameters = Array(method.length).fill({});
      // The parameters in the path come first.
      const inPath = method(...parameters).pathPattern.match(/\{/g) ?? [];
      parameters.splice(0, inPath.length, ...inPath.map(() => 'abcd'));
      await fails(method(...parameters), 404, 'NotFound', /of the AI API is not served here: \/openapi.yaml/);
    }
  }
});

test('the table of the documentation has each method', () => {
  const lines = readFileSync(process.env.AI_API_DOCUMENT, 'utf8').split('\n');
  const table = lines.filter((line) => line.startsWith('|')).join('\n');
  for (const api of Object.keys(sdk).filter((name) => name.endsWith('Api'))) {
    const names = SERVED.includes(api) ? methods(api).map((method) => `${api}.${method}`) : [api];
    for (const name of names) assert.ok(table.includes(`\`${name}\``), name);
  }
});

// An OpenID Connect provider that issues JWTs to clients with an id and a secret, on loopback over HTTPS.
// usage: node provider.mjs CERTIFICATE KEY
// Prints its URL and the secret of all clients in one line once it accepts connections.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

// What the tokens of each client are for.
const audiences = { 'cleanup-job': 'ai-api', stranger: 'ai-api', 'other-service': 'another-service' };
const secret = randomUUID();
const signingKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

const [cert, key] = process.argv.slice(2).map((file) => readFileSync(file));
const server = createServer({ cert, key });
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: Object.keys(audiences).map((id) => ({
      client_id: id,
      client_secret: secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      // Both SDKs send the secret in the body.
      token_endpoint_auth_method: 'client_secret_post',
    })),
    jwks: { keys: [{ ...signingKey, alg: 'RS256', use: 'sig' }] },
    // Where SAP's SDKs ask for a token.
    routes: { token: '/oauth/token' },
    ttl: { ClientCredentials: 12 * 60 * 60 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        // The SDKs do not say for which service they want a token.
        defaultResource: () => 'urn:ai-api',
        getResourceServerInfo: (_context, _resource, client) => ({
          accessTokenFormat: 'jwt',
          audience: audiences[client.clientId],
          scope: '',
        }),
      },
    },
  });
  provider.on('server_error', (_context, error) => console.error(error));
  server.on('request', provider.callback());
  console.log(issuer, secret);
});

// A client that we did not write (openid-client), asked for tokens with and without DPoP, on the address and key it is given.
import * as client from 'openid-client'
import { importJWK } from 'jose'

const { base, client_id, jwk, scope, path } = JSON.parse(process.argv[2])
const key = await importJWK({ ...jwk, key_ops: undefined }, jwk.alg)
const config = await client.discovery(
  new URL(`${base}/.well-known/oauth-authorization-server`), client_id, {}, client.PrivateKeyJwt({ key, kid: jwk.kid }),
  { algorithm: 'oauth2', execute: [client.allowInsecureRequests] },
)
const told = {}

const bearer = await client.clientCredentialsGrant(config, { scope })
told.bearer = { type: bearer.token_type, scope: bearer.scope, expires_in: bearer.expires_in }
const answer = await client.fetchProtectedResource(config, bearer.access_token, new URL(base + path), 'GET')
told.bearer.status = answer.status
told.bearer.resource = (await answer.json()).resourceType

const pair = await client.randomDPoPKeyPair('ES256')
const DPoP = client.getDPoPHandle(config, pair)
async function again(call) { // The first answer brings the nonce (RFC 9449 8); the library keeps it and leaves the retry to us.
  try { return await call() } catch (error) { if (client.isDPoPNonceError?.(error) ?? true) return await call(); throw error }
}
const bound = await again(() => client.clientCredentialsGrant(config, { scope }, { DPoP }))
told.dpop = { type: bound.token_type }
const fetched = await again(() => client.fetchProtectedResource(config, bound.access_token, new URL(base + path), 'GET', undefined, undefined, { DPoP }))
told.dpop.status = fetched.status
told.dpop.stolen = await client.fetchProtectedResource(config, bound.access_token, new URL(base + path), 'GET').then((one) => one.status, () => 401)

told.introspection = (await client.tokenIntrospection(config, bearer.access_token)).active
await client.tokenRevocation(config, bearer.access_token)
told.after = (await client.tokenIntrospection(config, bearer.access_token)).active
console.log(JSON.stringify(told))

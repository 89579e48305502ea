// An OpenID provider: client credentials over HTTPS, its keys over HTTP for the brokers, which need no secret for them.
// node idp.mjs HTTPS_PORT HTTP_PORT KEY.pem CERTIFICATE.pem CLIENTS.json; tokens hold for IDP_TTL seconds.
import { readFileSync, statSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import { createServer as createHttps } from "node:https";
import { createRequire } from "node:module";

// Modules are found by NODE_PATH, which import statements don't look at.
const { Provider } = createRequire(import.meta.url)("oidc-provider");
const [httpsPort, httpPort, key, certificate, clientsFile] = process.argv.slice(2);
const audience = "driftbus-tests";

const build = () =>
  new Provider(`https://127.0.0.1:${httpsPort}`, {
    clients: Object.entries(JSON.parse(readFileSync(clientsFile))).map(([client_id, client_secret]) => ({
      client_id,
      client_secret,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    })),
    scopes: ["kafka"],
    jwks: { keys: [JSON.parse(readFileSync(process.env.IDP_JWK))] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => `urn:${audience}`,
        getResourceServerInfo: () => ({
          scope: "kafka",
          audience,
          accessTokenTTL: Number(process.env.IDP_TTL),
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  }).callback();

// Clients whose secret was changed in the file are known at once.
let [serve, seen] = [build(), statSync(clientsFile).mtimeMs];
const answer = (request, response) => {
  const now = statSync(clientsFile).mtimeMs;
  if (now !== seen) [serve, seen] = [build(), now];
  return serve(request, response);
};
createHttp(answer).listen(Number(httpPort), "127.0.0.1");
createHttps({ key: readFileSync(key), cert: readFileSync(certificate) }, answer).listen(Number(httpsPort), "127.0.0.1");

export {
  type ServerTls,
  testAuthorizationServer,
  type TestAuthorizationServer,
  type TestAuthorizationServerOptions,
} from './authorization-server.ts';
export type { PresentedRequest, TestClient, TestClientOptions } from './client.ts';

export { accessOfTool, authInfoOf, type McpAuthInfo } from './auth-info.ts';
export { mcpEndpoint, type McpEndpoint, type McpEndpointOptions, type McpTransport, type TransportOptions } from './endpoint.ts';

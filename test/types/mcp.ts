// What the bridge writes is what both versions of the SDK take, without either of them in its types.
import { type AuthInfo, mcp } from '@holdfast/mcp';
import { mcp as mcpForFetch } from '@holdfast/mcp/fetch';
import type { AuthInfo as AuthInfo1 } from '@modelcontextprotocol/sdk/server/auth/types.js';
import type { AuthInfo as AuthInfo2 } from '@modelcontextprotocol/server';
import express from 'express';
import express4 from 'express-4';

declare const authInfo: AuthInfo;
authInfo satisfies AuthInfo1;
authInfo satisfies AuthInfo2;

express().use('/mcp', mcp({ claims: ['email'], onRefusal: ({ reason, subject }) => console.log(reason, subject) }));
express4().use('/mcp', mcp());
mcp().endSession('id');

export const answer: Promise<Response> = mcpForFetch()(new Request('https://mcp.example.com/mcp'), (_, { authInfo: who }) =>
  Response.json(who.extra.issuer),
);

// @ts-expect-error Nothing lets a bridge tell the token.
mcp({ token: true });

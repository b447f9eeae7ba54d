// The contract of adapters, met by @holdfast/nestjs with Nest 12 on Express and on Fastify; with Nest 11 in nestjs-11.test.ts.
import { adapterContract, grantedTo, listening } from './contract.ts';
import { start } from './nestjs-contract-app.ts';

const parts = { grantedTo, listening };
adapterContract('NestJS on Express', (contract) => start('Express', contract, parts), {
  handsOn: true,
  allMethods: 'refused',
  bareRoutes: false,
});
adapterContract('NestJS on Fastify', (contract) => start('Fastify', contract, parts), {
  handsOn: true,
  allMethods: 'refused',
  bareRoutes: false,
  http2: true,
});

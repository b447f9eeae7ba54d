// One middleware for Express 4 and 5, beside another library that claims req.auth, in one program.
import { accessOf, fromTls, holdfast, HoldfastError, protectedResource, requires } from '@holdfast/express';
import express5, { type ErrorRequestHandler, type RequestHandler } from 'express';
import express4 from 'express-4';
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer';

const options = { issuer: 'https://as.example', audience: 'https://api.example', certificate: fromTls() };

const app5 = express5();
const protection = holdfast(options);
app5.use(protection);
app5.use('/mounted', holdfast(protectedResource(options), { refusals: 'next' }));
app5.get('/accounts', requires({ scope: 'accounts' }), (request, response) => {
  response.json({ subject: accessOf(request).claims.sub });
});
app5.route('/loans/:id').get(requires({ scope: 'loans' }), (request, response) => void response.send(request.params.id));
const router = express5.Router();
router.use(holdfast(options));
app5.use(router);
const onRefusal: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  if (!(error instanceof HoldfastError)) return next(error);
  response.status(error.status).set(error.headers).send(error.refusal?.rejection.rejected);
};
app5.use(onRefusal);
await protection.ready();
await protection.close();

const app4 = express4();
app4.use(holdfast(options));
app4.get('/accounts', requires({ scope: 'accounts' }), (request, response) => {
  response.json({ subject: accessOf(request).claims.sub });
});

// As handlers of either version, where a program says the type.
export const handlers: RequestHandler[] = [holdfast(options), requires({ scope: 'read' })];

// The neighbour types req.auth for everybody; Holdfast neither reads nor changes it.
app5.use('/legacy', auth({ issuerBaseURL: 'https://as.example', audience: 'https://api.example' }), requiredScopes('read'));
app5.get('/both', auth(), holdfast(options), (request, response) => {
  response.json({ theirs: request.auth?.payload.sub, ours: accessOf(request).claims.sub });
});
// @ts-expect-error: what their middleware found is no access of ours
app5.get('/confused', (request) => void request.auth?.confirmed);
// @ts-expect-error: access is had from the request, not from the response
app5.get('/swapped', (_request, response) => void accessOf(response));

// node examples/nestjs/dist/demo.js: lets an owner, thieves and a passer-by call the API, and prints what came of it.
import { printAnswers, printVerdict } from '@holdfast/example-main-job/report';
import { visitWith } from '@holdfast/test-support/visits';
import { startApi } from './api.js';

const visits = await visitWith(startApi);
printAnswers(visits);
printVerdict(visits);

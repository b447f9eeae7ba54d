// node examples/mcp/dist/demo.js: two clients of the MCP SDK and some thieves call a server, and what came of it is printed.
import { printAnswers, printVerdict } from '@holdfast/example-main-job/report';
import { runMcp } from './mcp.js';

const attempts = await runMcp();
printAnswers(attempts);
printVerdict(attempts);

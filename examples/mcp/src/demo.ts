// node examples/mcp/dist/demo.js: lets owners and thieves call an MCP server, and prints what came of it.
import { printAnswers, printVerdict } from '@holdfast/example-main-job/report';
import { runMcp } from './scene.js';

const { attempts } = await runMcp();
printAnswers(attempts);
printVerdict(attempts);

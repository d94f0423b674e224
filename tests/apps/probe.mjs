// tests/apps/probe.mjs — the program under test for Node: fs promises, fetch, dns, child_process, worker threads.
import { execFile } from 'node:child_process';
import dns from 'node:dns';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';

const table = new Uint32Array(256).map((_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = table[(value ^ byte) & 0xff] ^ (value >>> 8);
  return ((value ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0');
}

async function* walk(folder) {
  for (const entry of await fs.promises.readdir(folder, { withFileTypes: true })) {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* walk(name);
    else if (entry.isFile()) yield name;
  }
}

const byBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));

const commands = {
  async files(top) {
    const names = [];
    for await (const name of walk(top)) names.push(name);
    for (const name of names.sort(byBytes)) {
      const bytes = await fs.promises.readFile(name);
      console.log(crc(bytes), bytes.length, name);
    }
  },
  async streamed(name) {
    let size = 0;
    const parts = [];
    for await (const part of fs.createReadStream(name)) { parts.push(part); size += part.length; }
    console.log(crc(Buffer.concat(parts)), size, name);
  },
  async stat(name) {
    const info = await fs.promises.stat(name);
    console.log(info.size, (info.mode & 0o7777).toString(8), Math.floor(info.mtimeMs / 1000));
  },
  async env(name) { console.log(process.env[name]); },
  async resolve(name) {
    const found = await dns.promises.lookup(name, { all: true });
    console.log([...new Set(found.map((entry) => entry.address))].sort().join(' '));
  },
  async get(url) { process.stdout.write(await (await fetch(url)).text()); },
  async write(name, text) {
    await fs.promises.writeFile(name, text);
    console.log(fs.readFileSync(name, 'utf8'));
  },
  async spawn(program, ...args) {
    process.stdout.write((await promisify(execFile)(program, args)).stdout);
  },
  async threads(count, name) {
    const one = () => new Promise((resolve, reject) => {
      const worker = new Worker(fileURLToPath(import.meta.url), { workerData: name });
      worker.on('message', resolve).on('error', reject);
    });
    const results = await Promise.all(Array.from({ length: Number(count) }, one));
    console.log(new Set(results).size, results[0]);
  },
};

if (isMainThread) {
  const [command, ...args] = process.argv.slice(2);
  await commands[command](...args);
} else {
  parentPort.postMessage(crc(fs.readFileSync(workerData)));
}

# tests/local/test_exact_bytes.py — every byte once and in order over outgoing TCP, along the whole path:
# random sizes, pauses, slow readers and half-closes, and a thousand connections at once.
import os
import random
import subprocess

from support import LocalTest, python_with

# Both ends run this. A conversation's seed says everything about it; each end checks what it gets.
PEERS = r"""
import asyncio, os, random, resource, sys

class Conversation:
    def __init__(self, seed, most):
        choose = random.Random(seed)
        self.seed = seed
        self.order = choose.choice(('both', 'up first', 'down first'))
        size = lambda: choose.randrange(3) if choose.randrange(5) == 0 else choose.randrange(most)
        self.up, self.down = (random.Random(choose.random()).randbytes(size()) for _ in 'ud')

    async def send(self, writer, data, pace):
        sent = 0
        while sent < len(data):
            count = pace.choice((pace.randrange(1, 200_000), 1 + 2 * pace.randrange(2000)))
            writer.write(data[sent:sent + count]); sent += count
            await writer.drain()
            if pace.randrange(12) == 0: await asyncio.sleep(pace.random() / 50)
        writer.write_eof()

    async def receive(self, reader, data, pace):
        got = 0
        if pace.randrange(4) == 0: await asyncio.sleep(pace.random())  # a slow reader
        while part := await reader.read(pace.choice((pace.randrange(1, 200_000), 1 + pace.randrange(999)))):
            if data[got:got + len(part)] != part: raise ValueError('wrong bytes in the piece at %d' % got)
            got += len(part)
            if pace.randrange(30) == 0: await asyncio.sleep(pace.random() / 50)
        if got != len(data): raise ValueError('the end after %d of %d' % (got, len(data)))

    async def run(self, reader, writer, is_server):
        sent, received = (self.down, self.up) if is_server else (self.up, self.down)
        pace = random.Random(self.seed * 2 + is_server)
        steps = [self.send(writer, sent, pace), self.receive(reader, received, pace)]
        if self.order == 'both':
            await asyncio.gather(*steps)
        else:
            waits = self.order == ('up first' if is_server else 'down first')
            for step in reversed(steps) if waits else steps: await step
        writer.close()

async def serve(most):
    async def handle(reader, writer):
        seed = int.from_bytes(await reader.readexactly(8), 'little')
        try: await Conversation(seed, most).run(reader, writer, True)
        except Exception as error: print('server, seed %d: %r' % (seed, error), flush=True)
    server = await asyncio.start_server(handle, '127.0.0.1', 7100, backlog=2048)
    print('ready', flush=True)
    await server.serve_forever()

async def connect(first, count, most):
    right = 0
    opened = asyncio.Semaphore(64)
    started = asyncio.Event()
    left = count
    async def talk(seed):
        nonlocal right, left
        async with opened: reader, writer = await asyncio.open_connection('127.0.0.1', 7100)
        left -= 1
        if left == 0: started.set()
        await started.wait()  # all of them at once
        writer.write(seed.to_bytes(8, 'little'))
        try:
            await asyncio.wait_for(Conversation(seed, most).run(reader, writer, False), 100)
            right += 1
        except Exception as error: print('client, seed %d: %r' % (seed, error))
    await asyncio.gather(*(talk(first + number) for number in range(count)))
    print(right, 'right')

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))
words = [int(word) for word in sys.argv[2:]]
asyncio.run(serve(*words) if sys.argv[1] == 'serve' else connect(*words))
"""


class ExactBytes(LocalTest):
    def converse(self, count, most):
        seed = int(os.environ.get("MIRRORD_TEST_SEED") or random.SystemRandom().randrange(1 << 40))
        python = python_with()
        server = self.pod.popen(python, "-c", PEERS, "serve", str(most), env=self.env, stdout=subprocess.PIPE)
        self.started.append(server)
        self.assertEqual(b"ready\n", server.stdout.readline())
        text = self.output(python, "-c", PEERS, "connect", str(seed), str(count), str(most), timeout=140)
        server.terminate()
        problems = server.stdout.read().decode()
        self.assertEqual(("%d right\n" % count, ""), (text, problems), "MIRRORD_TEST_SEED=%d" % seed)

    def test_random_conversations(self):
        self.converse(24, 2_000_000)

    def test_a_thousand_connections_at_once(self):
        self.converse(1000, 20_000)

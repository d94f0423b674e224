// tests/apps/http_echo.js — an HTTP/1.1 or HTTP/2 server that says who it is and what it was sent.
// What is sent to /note… is printed too. node http_echo.js NAME PORT [http2]; prints "ready", ends with its input.
const [name, port, protocol] = process.argv.slice(2);

function describe(request, response) {
  let body = '';
  request.on('data', chunk => { body += chunk; });
  request.on('end', () => {
    const text = JSON.stringify({
      server: name, method: request.method, url: request.url, version: request.httpVersion,
      headers: request.headers, body, trailers: request.trailers, peer: request.socket.remoteAddress}) + '\n';
    if (request.url.startsWith('/note')) process.stdout.write(text);
    response.writeHead(200, {'x-server': name, 'content-type': 'application/json',
                             'content-length': Buffer.byteLength(text)});
    response.end(text);
  });
}

// The body comes back as it comes in, and its trailers in one of the answer's.
function echo(request, response) {
  response.writeHead(200, {'x-server': name, trailer: 'x-came-back'});
  request.on('data', chunk => {
    if (!response.write(chunk)) {
      request.pause();
      response.once('drain', () => request.resume());
    }
  });
  request.on('end', () => {
    if (Object.keys(request.trailers).length)
      response.addTrailers({'x-came-back': JSON.stringify(request.trailers)});
    response.end();
  });
}

// As many bytes as the query says.
function many(request, response) {
  let left = Number(request.url.split('?')[1]);
  const block = Buffer.alloc(65536, name);
  response.writeHead(200, {'x-server': name});
  const more = () => {
    while (left > 0) {
      const part = block.subarray(0, Math.min(left, block.length));
      left -= part.length;
      if (!response.write(part)) return response.once('drain', more);
    }
    response.end();
  };
  more();
}

// Dies in the middle of its answer.
function half(request, response) {
  response.writeHead(200, {'x-server': name, 'content-length': 1000});
  response.write('the beginning');
  setTimeout(() => process.exit(1), 100);
}

// Takes a while.
function slow(request, response) {
  console.log('slow');
  setTimeout(() => describe(request, response), 400);
}

const paths = {'/slow': slow, '/echo': echo, '/many': many, '/half': half, '/never': () => console.log('never')};

function answer(request, response) {
  (paths[request.url.split('?')[0]] || describe)(request, response);
}

const server = protocol === 'http2' ? require('http2').createServer(answer) : require('http').createServer(answer);
server.on('upgrade', (request, socket, head) => {
  socket.on('error', () => {});
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nx-server: ' + name +
               '\r\n\r\n');
  socket.write(head);
  socket.pipe(socket);
});
server.on('checkContinue', (request, response) => {
  if (request.url === '/refuse') return response.writeHead(417, {'x-server': name}).end();
  response.writeContinue();
  answer(request, response);
});
server.listen(Number(port), '::', () => console.log('ready'));
process.stdin.on('end', () => process.exit(0)).resume();

// tests/fuzz/http_fuzz.cpp — any bytes as a client's or a server's: no crash, events in their order, and with
// HTTP/1 the same events however the bytes are cut.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/http/client_connection.h"
#include "net/http/server_connection.h"

using namespace mirrord::net::http;

namespace {

void check(bool is_right) {
  if (!is_right)
    std::abort();
}

std::string text_of(const Headers& headers) {
  std::string text;
  for (const Header header : headers)
    text += std::string(header.name) + ": " + std::string(header.value) + "\n";
  return text;
}

// What a server's user is told of one exchange.
struct Exchange {
  std::string text;
  std::size_t body = 0;
  bool has_ended = false;
};

// Bytes to a server in pieces of `step`; every complete request is answered with its body's length.
std::string serve(Protocol protocol, std::span<const std::byte> bytes, std::size_t step) {
  std::map<ExchangeId, Exchange> exchanges;
  std::string transcript;
  bool is_closed = false;
  std::optional<ServerConnection> server;
  const auto complete = [&](ExchangeId id, Exchange& exchange) {
    exchange.has_ended = true;
    transcript += exchange.text + "body " + std::to_string(exchange.body) + "\n";
    const std::string length = std::to_string(exchange.body);
    ResponseHead head;
    head.headers.add("Content-Length", std::to_string(length.size()));
    server->respond(id, head, {as_bytes(length), true});
  };
  server.emplace(protocol, ServerConnection::Handlers{
                               .output = [&](std::span<const std::byte>) { check(!is_closed); },
                               .request =
                                   [&](ExchangeId id, RequestHead&& head, BodyStart start) {
                                     check(!is_closed && id != 0 && !exchanges.contains(id));
                                     check(is_valid(head));
                                     Exchange& exchange = exchanges[id];
                                     exchange.text = head.method + " " + head.target + "\n" +
                                                     text_of(head.headers);
                                     exchange.body = start.bytes.size();
                                     server->consumed(id, start.bytes.size());
                                     if (start.is_end)
                                       complete(id, exchange);
                                   },
                               .body =
                                   [&](ExchangeId id, std::span<const std::byte> piece) {
                                     check(exchanges.contains(id) && !exchanges[id].has_ended &&
                                           !piece.empty());
                                     exchanges[id].body += piece.size();
                                     server->consumed(id, piece.size());
                                   },
                               .body_end =
                                   [&](ExchangeId id, Headers&& trailers) {
                                     check(exchanges.contains(id) && !exchanges[id].has_ended);
                                     exchanges[id].text += text_of(trailers);
                                     complete(id, exchanges[id]);
                                   },
                               .cancelled = [&](ExchangeId id) { check(exchanges.contains(id)); },
                               .drained = [](ExchangeId) {},
                               .input_wanted = [] {},
                               .closed =
                                   [&](Close how) {
                                     check(!is_closed);
                                     is_closed = how != Close::kSending;
                                   }});
  while (!bytes.empty() && !is_closed) {
    const std::size_t size = std::min(step, bytes.size());
    server->receive(bytes.first(size));
    bytes = bytes.subspan(size);
  }
  if (!is_closed)
    server->receive_end();
  return transcript;
}

// Bytes to a client that has asked once.
std::string ask(Protocol protocol, std::string_view method, std::span<const std::byte> bytes,
                std::size_t step) {
  std::string transcript;
  std::size_t body = 0;
  bool is_over = false;
  bool is_closed = false;
  std::optional<ClientConnection> client;
  client.emplace(
      protocol,
      ClientConnection::Handlers{
          .output = [&](std::span<const std::byte>) { check(!is_closed); },
          .interim = [&](ExchangeId,
                         ResponseHead&& head) { transcript += std::to_string(head.status) + "\n"; },
          .response =
              [&](ExchangeId id, ResponseHead&& head, BodyStart start) {
                check(!is_over && is_valid(head));
                transcript += std::to_string(head.status) + "\n" + text_of(head.headers);
                body = start.bytes.size();
                is_over = start.is_end;
                client->consumed(id, start.bytes.size());
              },
          .body =
              [&](ExchangeId id, std::span<const std::byte> piece) {
                check(!is_over);
                body += piece.size();
                client->consumed(id, piece.size());
              },
          .body_end =
              [&](ExchangeId, Headers&& trailers) {
                check(!is_over);
                is_over = true;
                transcript += text_of(trailers);
              },
          .failed =
              [&](ExchangeId, Failure&& failure) {
                check(!is_over && !failure.why.empty());
                is_over = true;
                transcript = "failed";  // how much was told before depends on the cuts
                body = 0;
              },
          .drained = [](ExchangeId) {},
          .input_wanted = [] {},
          .ready = [] {},
          .closed =
              [&](Close how) {
                check(!is_closed);
                is_closed = how != Close::kSending;
              }});
  RequestHead head{.method = std::string(method), .target = "/"};
  head.headers.add("Host", "shop");
  head.version = protocol == Protocol::kHttp2 ? Version::kHttp2 : Version::kHttp11;
  head.scheme = "http";
  head.authority = "shop";
  check(client->request(head, {{}, true}).has_value());
  while (!bytes.empty() && !is_closed) {
    const std::size_t size = std::min(step, bytes.size());
    client->receive(bytes.first(size));
    bytes = bytes.subspan(size);
  }
  if (!is_closed)
    client->receive_end();
  check(is_over || is_closed || method == "CONNECT" || transcript.starts_with("101"));
  return transcript + std::to_string(body);
}

}  // namespace

// The first byte: whose bytes the others are, in which version, and how they are cut.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1)
    return 0;
  const std::span bytes = std::as_bytes(std::span(data + 1, size - 1));
  const std::size_t step = 1 + (data[0] >> 4);
  switch (data[0] & 7) {
    case 0:
    case 1:
      check(serve(Protocol::kHttp1, bytes, bytes.size()) == serve(Protocol::kHttp1, bytes, step));
      break;
    case 2: {
      std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
      preface.append("\0\0\0\4\0\0\0\0\0", 9);  // SETTINGS
      preface.append(as_text(bytes));
      // What is reset in the same read is not told at all: the events may differ.
      serve(Protocol::kHttp2, as_bytes(preface), preface.size());
      serve(Protocol::kHttp2, as_bytes(preface), step);
      break;
    }
    case 3:
      serve(Protocol::kDetect, bytes, step);
      break;
    case 4:
    case 5: {
      const std::string_view method = (data[0] & 1) != 0 ? "HEAD" : "GET";
      check(ask(Protocol::kHttp1, method, bytes, bytes.size()) ==
            ask(Protocol::kHttp1, method, bytes, step));
      break;
    }
    default: {
      std::string settings("\0\0\0\4\0\0\0\0\0", 9);
      settings.append(as_text(bytes));
      ask(Protocol::kHttp2, "GET", as_bytes(settings), settings.size());
      ask(Protocol::kHttp2, "GET", as_bytes(settings), step);
      break;
    }
  }
  return 0;
}

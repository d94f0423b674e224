// tests/unit/net/http/peers.h — connections whose events are written down as lines of text, for comparison.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/client_connection.h"
#include "net/http/message.h"
#include "net/http/server_connection.h"

namespace mirrord::net::http::testing {

inline std::string in_words(const Headers& headers) {
  std::string text;
  for (const Header header : headers)
    text.append("|").append(header.name).append(": ").append(header.value);
  return text;
}

inline std::string in_words(Close close) {
  return close == Close::kSending ? "closed sending" : close == Close::kBoth ? "closed" : "reset";
}

// Gives `text` in pieces of `step` bytes.
template <class Receive>
void in_pieces(std::string_view text, std::size_t step, Receive&& receive) {
  for (std::size_t at = 0; at < text.size(); at += step)
    receive(as_bytes(text.substr(at, step)));
}

// A server whose requests are lines of `log`. Bodies are joined: "body" says all of one when it ends.
struct Server {
  explicit Server(Protocol protocol, const Limits& limits = {})
      : connection(protocol, handlers(), limits) {}

  ServerConnection::Handlers handlers() {
    return {
        .output = [this](std::span<const std::byte> bytes) { output.append(as_text(bytes)); },
        .request =
            [this](ExchangeId id, RequestHead&& head, BodyStart start) {
              last_id = id;
              log.push_back(name(id) + head.method + " " + head.target +
                            (head.authority.empty() ? "" : " at " + head.authority) + " " +
                            std::string(to_string(head.version)) + in_words(head.headers));
              if (consumes)
                connection.consumed(id, start.bytes.size());
              bodies[id] = as_text(start.bytes);
              starts.push_back(std::string(as_text(start.bytes)) + (start.is_end ? "." : "…"));
              last_head = head;
              if (start.is_end)
                end(id, {});
              if (on_request)
                on_request(id);
            },
        .body =
            [this](ExchangeId id, std::span<const std::byte> bytes) {
              bodies[id].append(as_text(bytes));
              if (consumes)
                connection.consumed(id, bytes.size());
            },
        .body_end = [this](ExchangeId id, Headers&& trailers) { end(id, trailers); },
        .cancelled = [this](ExchangeId id) { log.push_back(name(id) + "cancelled"); },
        .drained = [this](ExchangeId id) { log.push_back(name(id) + "drained"); },
        .input_wanted = [this] { log.push_back("input wanted"); },
        .closed = [this](Close close) { log.push_back(in_words(close)); },
    };
  }

  void receive(std::string_view text, std::size_t step = std::string::npos) {
    in_pieces(text, std::min(step, std::max<std::size_t>(text.size(), 1)),
              [this](std::span<const std::byte> bytes) { connection.receive(bytes); });
  }
  // Answers with a complete body.
  void answer(ExchangeId id, int status, std::string_view body, Headers headers = {}) {
    connection.respond(id, {status, std::string(reason_phrase(status)), Version::kHttp11, headers},
                       {as_bytes(body), true});
  }
  std::string take_output() { return std::exchange(output, {}); }
  std::vector<std::string> take_log() { return std::exchange(log, {}); }

  std::string output;
  std::vector<std::string> log, starts;
  std::map<ExchangeId, std::string> bodies;
  ExchangeId last_id = 0;
  RequestHead last_head;
  bool consumes = true;
  std::function<void(ExchangeId)> on_request;
  ServerConnection connection;

 private:
  static std::string name(ExchangeId id) { return std::to_string(id) + " "; }
  void end(ExchangeId id, const Headers& trailers) {
    log.push_back(name(id) + "body [" + bodies[id] + "]" + in_words(trailers));
    bodies.erase(id);
  }
};

// The same for a client.
struct Client {
  explicit Client(Protocol protocol, const Limits& limits = {})
      : connection(protocol, handlers(), limits) {}

  ClientConnection::Handlers handlers() {
    return {
        .output = [this](std::span<const std::byte> bytes) { output.append(as_text(bytes)); },
        .interim =
            [this](ExchangeId id, ResponseHead&& head) {
              log.push_back(name(id) + "interim " + std::to_string(head.status) +
                            in_words(head.headers));
            },
        .response =
            [this](ExchangeId id, ResponseHead&& head, BodyStart start) {
              log.push_back(name(id) + std::to_string(head.status) + " " + head.reason +
                            in_words(head.headers));
              bodies[id] = as_text(start.bytes);
              if (consumes)
                connection.consumed(id, start.bytes.size());
              starts.push_back(std::string(as_text(start.bytes)) + (start.is_end ? "." : "…"));
              if (start.is_end)
                end(id, {});
            },
        .body =
            [this](ExchangeId id, std::span<const std::byte> bytes) {
              bodies[id].append(as_text(bytes));
              if (consumes)
                connection.consumed(id, bytes.size());
            },
        .body_end = [this](ExchangeId id, Headers&& trailers) { end(id, trailers); },
        .failed =
            [this](ExchangeId id, Failure&& failure) {
              log.push_back(name(id) + "failed: " + failure.why +
                            (failure.is_refused ? ", refused" : "") +
                            (failure.is_unanswered ? ", unanswered" : ""));
            },
        .drained = [this](ExchangeId id) { log.push_back(name(id) + "drained"); },
        .input_wanted = [this] { log.push_back("input wanted"); },
        .ready = [this] { log.push_back("ready"); },
        .closed = [this](Close close) { log.push_back(in_words(close)); },
    };
  }

  void receive(std::string_view text, std::size_t step = std::string::npos) {
    in_pieces(text, std::min(step, std::max<std::size_t>(text.size(), 1)),
              [this](std::span<const std::byte> bytes) { connection.receive(bytes); });
  }
  std::string take_output() { return std::exchange(output, {}); }
  std::vector<std::string> take_log() { return std::exchange(log, {}); }

  std::string output;
  std::vector<std::string> log, starts;
  std::map<ExchangeId, std::string> bodies;
  bool consumes = true;
  ClientConnection connection;

 private:
  static std::string name(ExchangeId id) { return std::to_string(id) + " "; }
  void end(ExchangeId id, const Headers& trailers) {
    log.push_back(name(id) + "body [" + bodies[id] + "]" + in_words(trailers));
    bodies.erase(id);
  }
};

using Log = std::vector<std::string>;

}  // namespace mirrord::net::http::testing

// applets/demo/http.cpp — the pod's HTTP service: a greeting, a health check, echo, bulk bytes.
#include <strings.h>

#include <charconv>
#include <cstring>
#include <string>

#include "applets/demo/pod.h"

namespace mirrord::demo {
namespace {

constexpr std::size_t kMaxBytes = 64 << 20;

struct Request {
  std::string_view method;
  std::string_view path;
  std::string_view head;  // all of it, with the final blank line
  std::string_view body;
  bool keep_alive = true;
};

std::string_view field(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;
       at = head.find("\r\n", at + 2)) {
    std::string_view line = head.substr(at + 2);
    if (line.size() <= name.size() || line[name.size()] != ':' ||
        strncasecmp(line.data(), name.data(), name.size()) != 0)
      continue;
    line.remove_prefix(name.size() + 1);
    line = line.substr(0, line.find("\r\n"));
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    return line;
  }
  return {};
}

std::size_t number(std::string_view text, std::size_t highest) {
  std::size_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return std::min(value, highest);
}

std::string respond(const Request& request, std::string_view status, std::string_view type,
                    const std::string& body) {
  std::string text = "HTTP/1.1 ";
  text += status;
  text += "\r\nServer: mirrord-demo\r\nContent-Type: ";
  text += type;
  text += "\r\nContent-Length: " + std::to_string(body.size());
  text += request.keep_alive ? "\r\n\r\n" : "\r\nConnection: close\r\n\r\n";
  if (request.method != "HEAD")
    text += body;
  return text;
}

std::string answer(const Request& request, const std::string& peer) {
  constexpr std::string_view kText = "text/plain; charset=utf-8";
  constexpr std::string_view kBytes = "/bytes/";
  if (request.path == "/") {
    const std::string host(field(request.head, "Host"));
    return respond(request, "200 OK", "application/json",
                   R"({"pod": ")" + std::string(kPodName) + R"(", "client": ")" + peer +
                       R"(", "host": ")" + host + "\"}\n");
  }
  if (request.path == "/healthz")
    return respond(request, "200 OK", kText, "ok\n");
  if (request.path == "/echo")
    return respond(request, "200 OK", "application/octet-stream", std::string(request.body));
  if (request.path == "/headers")
    return respond(request, "200 OK", kText, std::string(request.head));
  if (request.path.starts_with(kBytes)) {
    const std::size_t size = number(request.path.substr(kBytes.size()), kMaxBytes);
    std::string body(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
      body[i] = static_cast<char>('a' + i % 26);
    return respond(request, "200 OK", "application/octet-stream", body);
  }
  return respond(request, "404 Not Found", kText, "no such page\n");
}

}  // namespace

Reply serve_http(std::string& input, const std::string& peer) {
  Reply reply;
  while (!reply.is_last) {
    const std::size_t head_size = input.find("\r\n\r\n");
    if (head_size == std::string::npos)
      break;
    Request request;
    request.head = std::string_view(input).substr(0, head_size + 4);
    const std::size_t body_size = number(field(request.head, "Content-Length"), 1 << 20);
    if (input.size() < request.head.size() + body_size) {
      // curl sends a large body only when it is asked to go on.
      if (field(request.head, "Expect").starts_with("100-") && input.size() == request.head.size())
        reply.bytes += "HTTP/1.1 100 Continue\r\n\r\n";
      break;
    }
    request.body = std::string_view(input).substr(request.head.size(), body_size);
    const std::string_view line = request.head.substr(0, request.head.find("\r\n"));
    const std::size_t first = line.find(' ');
    const std::size_t second = line.rfind(' ');
    if (first == second) {
      reply.bytes += respond(request, "400 Bad Request", "text/plain", "what?\n");
      reply.is_last = true;
      break;
    }
    request.method = line.substr(0, first);
    request.path = line.substr(first + 1, second - first - 1);
    const std::string_view connection = field(request.head, "Connection");
    request.keep_alive = line.ends_with("1.1") && connection != "close";
    reply.bytes += answer(request, peer);
    reply.is_last = !request.keep_alive;
    input.erase(0, request.head.size() + body_size);
  }
  return reply;
}

}  // namespace mirrord::demo

// applets/wire.cpp — mirrord wire: messages of the agent protocol between hexadecimal and JSON.
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include <span>
#include <string>
#include <string_view>

#include "applets/applet.h"
#include "applets/wire_json.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/text.h"

namespace mirrord {

namespace {

constexpr std::string_view kHelp =
    R"(Usage: mirrord wire decode client|daemon
       mirrord wire encode client|daemon

Translates messages of the agent protocol, one per line, from standard input to
standard output. `client` are the messages that a client sends to the agent,
`daemon` those that come back.

  decode   reads a message in hexadecimal, writes it as JSON
  encode   reads a message as JSON, writes it in hexadecimal

A line that cannot be translated gives "error: …" in its place, and exit status 1
in the end. Bytes after the message are left out, with a note on standard error.

  $ echo 0100fb901f | mirrord wire decode client
  {"Tcp": {"PortSubscribe": 8080}}
  $ echo '{"Tcp": {"PortSubscribe": 8080}}' | mirrord wire encode client
  0100fb901f
)";

struct Translation {
  std::string text;  // or what is wrong
  bool is_error = false;
  std::size_t left_over = 0;  // bytes after the message
};

Translation error(std::string what) {
  return {"error: " + std::move(what), true, 0};
}

template <class Message>
Translation decode(std::string_view line) {
  const auto bytes = proto::parse_hex(line);
  if (!bytes)
    return error("not hexadecimal");
  Message message;
  const auto taken = proto::decode(std::as_bytes(std::span(*bytes)), message);
  if (!taken)
    return error(taken.error().what + " (at byte " + std::to_string(taken.error().offset) + ")");
  return {proto::to_json(message), false, bytes->size() - *taken};
}

template <class Message>
Translation encode(std::string_view line) {
  const auto json = parse_json(line);
  if (!json)
    return error(json.error());
  Message message;
  if (const auto read = proto::from_json(*json, message); !read)
    return error(read.error());
  proto::Bytes bytes;
  if (const auto done = proto::encode(message, bytes); !done)
    return error(done.error().what);
  std::string hex;
  proto::append_hex(hex, bytes.text());
  return {hex, false, 0};
}

std::string_view trim(std::string_view line) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = line.find_first_not_of(kSpace);
  if (first == std::string_view::npos)
    return {};
  return line.substr(first, line.find_last_not_of(kSpace) - first + 1);
}

int translate_lines(Translation (*translate)(std::string_view)) {
  char* buffer = nullptr;
  std::size_t capacity = 0;
  std::size_t number = 0;
  int status = 0;
  for (ssize_t length = 0; (length = getline(&buffer, &capacity, stdin)) >= 0;) {
    ++number;
    const Translation result = translate(trim({buffer, static_cast<std::size_t>(length)}));
    if (result.left_over > 0)
      fprintf(stderr, "line %zu: %zu bytes after the message\n", number, result.left_over);
    if (result.is_error)
      status = 1;
    if (printf("%s\n", result.text.c_str()) < 0 || fflush(stdout) != 0) {
      fprintf(stderr, "mirrord wire: cannot write to standard output\n");
      status = 1;
      break;
    }
  }
  free(buffer);
  return status;
}

}  // namespace

int wire_main(int argc, char** argv) {
  const std::string_view action = argc > 1 ? argv[1] : "";
  const std::string_view side = argc > 2 ? argv[2] : "";
  if (action == "--help" || action == "-h") {
    fputs(kHelp.data(), stdout);
    return 0;
  }
  if (argc == 3 && action == "decode" && side == "client")
    return translate_lines(decode<proto::ClientMessage>);
  if (argc == 3 && action == "decode" && side == "daemon")
    return translate_lines(decode<proto::DaemonMessage>);
  if (argc == 3 && action == "encode" && side == "client")
    return translate_lines(encode<proto::ClientMessage>);
  if (argc == 3 && action == "encode" && side == "daemon")
    return translate_lines(encode<proto::DaemonMessage>);
  fputs("mirrord wire: expected `decode` or `encode`, then `client` or `daemon`; see --help\n",
        stderr);
  return 2;
}

}  // namespace mirrord

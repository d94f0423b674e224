// applets/wire.cpp — mirrord wire: messages of the agent protocol between hexadecimal and JSON.
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include <span>
#include <string>
#include <string_view>
#include <tuple>

#include "applets/applet.h"
#include "applets/exec.h"
#include "applets/wire_json.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/text.h"

namespace mirrord {

namespace {

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

std::vector<Command> wire_commands() {
  return {{
      .name = "wire",
      .purpose = "Translates messages of the agent protocol, one per line, from standard input to "
                 "standard output. "
                 "`client` are the messages that a client sends to the agent, `daemon` those that "
                 "come back.",
      .usages = {"decode client|daemon", "encode client|daemon"},
      .flags = {},
      .examples = {{"echo 0100fb901f | mirrord wire decode client",
                    "{\"Tcp\": {\"PortSubscribe\": 8080}}"},
                   {"echo '{\"Tcp\": {\"PortSubscribe\": 8080}}' | mirrord wire encode client",
                    "0100fb901f"}},
      .notes = "  decode   reads a message in hexadecimal, writes it as JSON\n"
               "  encode   reads a message as JSON, writes it in hexadecimal\n"
               "\n"
               "A line that cannot be translated gives \"error: …\" in its place, and exit status "
               "1 in the end. Bytes "
               "after the message are left out, with a note on standard error.",
      .words = Words::kAny,
  }};
}

int wire_main(int argc, char** argv) {
  const Command command = wire_commands().front();
  const auto line = read_command_line(command, argc, argv, report_error);
  if (!line)
    return line.error();
  using Translate = Translation (*)(std::string_view);
  constexpr std::tuple<std::string_view, std::string_view, Translate> kActions[] = {
      {"decode", "client", decode<proto::ClientMessage>},
      {"decode", "daemon", decode<proto::DaemonMessage>},
      {"encode", "client", encode<proto::ClientMessage>},
      {"encode", "daemon", encode<proto::DaemonMessage>},
  };
  for (const auto& [action, side, translate] : kActions) {
    if (line->words.size() == 2 && line->words[0] == action && line->words[1] == side)
      return translate_lines(translate);
  }
  return report_error(
      usage_error(command, "expected `decode` or `encode`, then `client` or `daemon`").error());
}

}  // namespace mirrord

// applets/command_log.cpp — opens the log that the environment asks for.
#include "applets/command_log.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "applets/config/load.h"

namespace mirrord {
namespace {

constexpr std::array<std::string_view, 4> kReadByEditors = {"container-ext", "ext",
                                                            "extension-exec", "ls"};

bool may_use_standard_error(std::string_view command) {
  const std::string forced = config::process_environment("MIRRORD_FORCE_LOG").value_or("");
  return forced == "true" || forced == "1" ||
         std::ranges::find(kReadByEditors, command) == kReadByEditors.end();
}

}  // namespace

Result<CommandLog> open_command_log(std::string_view command) {
  auto opened = std::make_shared<log::Log>();
  const auto wanted = config::process_environment("MIRRORD_LOG");
  if (wanted && may_use_standard_error(command)) {
    MIRRORD_CHECK_STATUS(
        opened->add_descriptor(STDERR_FILENO, log::Filter::parse(*wanted), log::Format::kText));
  }
  if (const auto console = config::process_environment("MIRRORD_CONSOLE_ADDR");
      console && !console->empty()) {
    MIRRORD_CHECK_STATUS(opened->add_console(
        *console, wanted ? log::Filter::parse(*wanted) : log::Filter(log::Level::kTrace), command));
  }
  return opened;
}

Result<k8s::ClientConfig> logged_client_config(const k8s::ClientConfigChoice& choice,
                                               const CommandLog& log) {
  MIRRORD_TRY(client, k8s::load_client_config(choice));
  if (log->wants(log::Component::kKubernetes, log::Level::kDebug)) {
    client.log = [log](const std::string& line) {
      log->write(log::Component::kKubernetes, log::Level::kDebug, line);
    };
    client.log("API server " + client.server + ", context \"" + client.context + "\"");
  }
  return client;
}

}  // namespace mirrord

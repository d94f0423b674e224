// applets/intproxy/interruptions.cpp — a session whose connection to the agent breaks and comes back,
// and what its user is told.
#include <string>
#include <utility>

#include "applets/intproxy/session.h"
#include "applets/intproxy/user_notice.h"

namespace mirrord::intproxy {
namespace {

constexpr std::size_t kMaxNames = 3;  // of files in one line

std::string counted(std::size_t count, std::string_view one, std::string_view many) {
  return std::to_string(count) + " " + std::string(count == 1 ? one : many);
}

// "2 files open for writing (/a, /b)"; nothing for no files.
void add_files(std::vector<std::string>& parts, const std::vector<std::string>& paths,
               std::string_view one, std::string_view many) {
  if (paths.empty()) {
    return;
  }
  std::string text = counted(paths.size(), one, many) + " (";
  for (std::size_t i = 0; i < paths.size() && i < kMaxNames; ++i) {
    text += (i == 0 ? "" : ", ") + paths[i];
  }
  parts.push_back(text + (paths.size() > kMaxNames ? ", …)" : ")"));
}

// Empty: nothing was lost.
std::string describe(const Losses& losses) {
  std::vector<std::string> parts;
  if (losses.connections > 0) {
    parts.push_back(counted(losses.connections, "connection", "connections"));
  }
  add_files(parts, losses.written_files, "file open for writing", "files open for writing");
  add_files(parts, losses.changed_files, "file that has changed meanwhile",
            "files that have changed meanwhile");
  add_files(parts, losses.gone_files, "file that cannot be opened again",
            "files that cannot be opened again");
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == parts.size() ? " and " : ", ") + parts[i];
  }
  return text;
}

std::string in_seconds(std::uint64_t milliseconds) {
  return std::to_string(milliseconds / 1000) + "." + std::to_string(milliseconds / 100 % 10) + " s";
}

}  // namespace

void Session::use_connector(std::unique_ptr<AgentConnector> connector) {
  agent_->allow_resume();
  if (connector->replaces_agents()) {
    agent_->survive_close();
  }
  reconnector_ = std::make_unique<Reconnector>(
      loop_, *agent_, std::move(connector), options_.reconnect_timeout,
      Reconnector::Handlers{
          .log = [this](const std::string& line) { log_.warn(log::Component::kAgent, line); },
          .tell = [this](const std::string& line) { tell_user(line); }});
}

void Session::tell_user(const std::string& text) {
  log_.warn(log::Component::kAgent, text);
  std::vector<pid_t> processes;
  if (has_root_) {
    processes.push_back(options_.root_pid);
  }
  for (const auto& [key, process] : processes_) {
    // One without a pidfd may be of another PID namespace: its number would mean someone else here.
    if (process->pidfd.is_open() && process->pid != options_.root_pid) {
      processes.push_back(process->pid);
    }
  }
  if (!intproxy::tell_user(options_.notices, processes, text)) {
    log_.info(log::Component::kSession, "nobody's standard error could take this line");
  }
}

void Session::on_agent_interrupted(const Error& why) {
  if (has_ended_ || reconnector_ == nullptr) {
    return;
  }
  for (const std::unique_ptr<Part>& part : parts_) {
    part->agent_interrupted(losses_);
  }
  reconnector_->broken(why);
}

void Session::on_agent_restored(const AgentLink::Restored& restored) {
  if (has_ended_ || reconnector_ == nullptr) {
    return;
  }
  const std::string time = in_seconds(reconnector_->downtime_ms());
  reconnector_->restored();
  for (const std::unique_ptr<Part>& part : parts_) {
    part->agent_restored(restored, losses_);
  }
  const std::string notice = reconnector_->take_notice();
  const std::string lost = describe(std::exchange(losses_, {}));
  const std::string back = "the connection to the agent broke and is back after " + time;
  if (notice.empty() && lost.empty()) {
    log_.info(log::Component::kAgent,
              back + "; " + counted(restored.files, "file was", "files were") + " opened again");
    return;
  }
  std::string line = notice.empty() ? back : notice;
  if (!lost.empty()) {
    line += "; lost: " + lost;
  }
  tell_user(line);
}

}  // namespace mirrord::intproxy

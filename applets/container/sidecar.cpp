// applets/container/sidecar.cpp — directories, image, container, and what the program's container needs of them.
#include "applets/container/sidecar.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "applets/child_environment.h"
#include "applets/container/image.h"
#include "applets/container/request.h"
#include "applets/hook_file.h"
#include "applets/intproxy/stale.h"
#include "applets/private_directory.h"
#include "applets/session_start.h"
#include "applets/target_source.h"
#include "net/command.h"
#include "net/file.h"

namespace mirrord::container {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kToolLimit{60'000};
constexpr milliseconds kLastWords{500};
constexpr std::size_t kLargestHook = 16 << 20;

// One command of the runtime.
Status run_tool(std::vector<std::string> words, const std::string& tried) {
  const std::string program = words[0];
  MIRRORD_TRY(done, net::run_command({.words = std::move(words),
                                      .environment = {},
                                      .is_interactive = false,
                                      .timeout = kToolLimit}));
  if (done.status != 0)
    return fail(ErrorCode::kSystem,
                tried + ": " + program + " " + net::status_text(done.status) +
                    (done.messages.empty() ? "" : ": " + net::in_one_line(done.messages)),
                "Try `" + program + " run` without mirrord.");
  return {};
}

std::string own_executable() {
  std::array<char, PATH_MAX> path{};
  return realpath("/proc/self/exe", path.data()) != nullptr ? path.data() : "";
}

// A label keeps containers from files and sockets of this machine's users.
bool has_selinux() {
  return access("/sys/fs/selinux/enforce", F_OK) == 0;
}

std::string mount(const std::string& from, const std::string& to, bool is_read_only = false) {
  return from + ":" + to + (is_read_only ? ":ro" : "");
}

}  // namespace

Sidecar::Sidecar(net::Loop& loop, std::string runtime, const config::ResolvedConfig& config,
                 config::LoadRequest load, Progress& progress)
    : loop_(loop),
      runtime_(std::move(runtime)),
      config_(config),
      load_(std::move(load)),
      progress_(progress) {}

Sidecar::~Sidecar() {
  attached_.reset();
  if (!name_.empty() && !config_.container.keeps_sidecar)
    static_cast<void>(run_tool({runtime_, "rm", "--force", name_}, "remove the proxy's container"));
  if (streams_)
    streams_->finish(kLastWords);
  streams_.reset();
  if (!directory_.empty())
    net::remove_tree(directory_);
}

Status Sidecar::start() {
  const milliseconds timeout = config::setting_seconds(config_.agent.startup_timeout_seconds);
  MIRRORD_TRY(log, open_command_log("container"));
  MIRRORD_TRY(source, target_source(config_, log));
  MIRRORD_CHECK_STATUS(make_directories());
  {
    Progress step = progress_.subtask("starting the agent");
    intproxy::AgentSourceReport report;
    report.progress = [&](intproxy::StartStep, std::string_view text) { step.info(text); };
    MIRRORD_TRY(stream, intproxy::open_agent(loop_, std::move(source), timeout, std::move(report)));
    streams_ = std::make_unique<intproxy::StreamServer>(
        loop_, std::move(stream),
        [](const std::string& line) { std::fputs(("mirrord: " + line + "\n").c_str(), stderr); });
    MIRRORD_CHECK_STATUS(streams_->listen(directory_ + "/private/" + kStreamsName));
    step.success();
  }
  Progress step = progress_.subtask("starting the proxy's container");
  MIRRORD_CHECK_STATUS(provide_image());
  MIRRORD_CHECK_STATUS(create());
  MIRRORD_CHECK_STATUS(begin());
  MIRRORD_CHECK_STATUS(fetch_environment());
  step.success();
  return {};
}

Status Sidecar::make_directories() {
  MIRRORD_TRY(directory, make_session_directory());
  directory_ = directory;
  intproxy::remove_stale_sessions(directory_);
  const std::string share = directory_ + "/share";
  for (const auto& [path, mode] : {std::pair{share, 0755}, {directory_ + "/private", 0700}}) {
    // Not the process's own mask: a program of the container may be of any user.
    if (mkdir(path.c_str(), 0700) != 0 || chmod(path.c_str(), static_cast<mode_t>(mode)) != 0)
      return fail_system("make the directory " + path, errno);
  }
  MIRRORD_TRY(hook, provide_hook());
  MIRRORD_TRY(bytes, net::read_file(hook, kLargestHook));
  const std::string copy = share + "/" + kHookName;
  MIRRORD_CHECK_STATUS(net::write_private_file(copy, bytes));
  if (chmod(copy.c_str(), 0755) != 0)
    return fail_system("let all users read " + copy, errno);
  return write_request(directory_ + "/private", load_, config_.key);
}

Status Sidecar::provide_image() {
  if (!config_.container.cli_image.empty()) {
    image_ = config_.container.cli_image;
    return {};
  }
  image_ = kEmptyImage;
  if (run_tool({runtime_, "image", "inspect", image_}, "look for an image"))
    return {};
  const std::string archive = directory_ + "/private/image.tar";
  MIRRORD_CHECK_STATUS(net::write_private_file(archive, empty_image_archive()));
  const Status loaded = run_tool({runtime_, "load", "--input", archive}, "load the proxy's image");
  unlink(archive.c_str());
  return loaded;
}

Status Sidecar::create() {
  const std::string executable = own_executable();
  const std::string name = "mirrord-" + directory_.substr(directory_.rfind('/') + 1);
  std::vector<std::string> words = {runtime_, "create", "--name", name};
  if (!config_.container.keeps_sidecar)
    words.emplace_back("--rm");
  if (has_selinux())
    words.insert(words.end(), {"--security-opt", "label=disable"});
  words.insert(words.end(), {"--user", "0", "-v", mount(executable, kExecutable, true), "-v",
                             mount(directory_ + "/share", kShare), "-v",
                             mount(directory_ + "/private", kPrivate)});
  std::vector<std::string> files;
  if (const auto& tls = config_.network.incoming.tls_delivery) {
    files = tls->trust_roots;
    files.push_back(tls->server_cert);
  }
  for (const std::string& file : files) {
    const std::string path = file.empty() ? file : absolute_path(file);
    if (!path.empty())
      words.insert(words.end(), {"-v", mount(path, path, true)});
  }
  for (const std::string& word : config_.container.cli_extra_args)
    words.push_back(word);
  words.insert(words.end(), {image_, kExecutable, "container-session", kPrivate});
  name_ = name;  // from here on there may be something to remove
  return run_tool(std::move(words), "create the proxy's container");
}

void Sidecar::take_line(std::string_view line) {
  if (line == "ready" && !is_ready_) {
    is_ready_ = true;
    loop_.stop();
    return;
  }
  last_line_ = line;
  if (is_ready_)
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

Status Sidecar::begin() {
  Child::Handlers handlers;
  handlers.output = [this](std::string_view line) { take_line(line); };
  handlers.ended = [this](int status) {
    status_ = status;
    loop_.stop();
    if (is_ready_ && ended_)
      ended_();
  };
  MIRRORD_TRY(child,
              Child::start(loop_, {runtime_, "start", "--attach", name_}, {}, std::move(handlers)));
  attached_ = std::move(child);
  bool is_late = false;
  net::Timer timer(loop_);
  timer.start(config::setting_seconds(config_.agent.startup_timeout_seconds), [&] {
    is_late = true;
    loop_.stop();
  });
  while (!is_ready_ && !status_ && !is_late)
    loop_.run();
  if (is_ready_)
    return {};
  if (is_late)
    return fail(ErrorCode::kTimeout, "wait for the proxy's container: it does not become ready",
                "Raise agent.startup_timeout, or look at `" + runtime_ + " logs`.");
  // Whether it got as far as to say why.
  if (auto outcome = read_outcome(directory_ + "/private");
      !outcome && outcome.error().sys != ENOENT) {
    Error error = outcome.error();
    const std::string words = streams_->last_words();
    if (!words.empty() && error.code == ErrorCode::kDisconnected)
      error = intproxy::start_failure(words);
    return std::unexpected(std::move(error));
  }
  return fail(ErrorCode::kSystem,
              "start the proxy's container: " + runtime_ + " " + net::status_text(*status_) +
                  (last_line_.empty() ? "" : ": " + last_line_),
              "Containers must run on this machine's kernel: a runtime in a virtual machine or on "
              "another host cannot be used.");
}

Status Sidecar::fetch_environment() {
  MIRRORD_TRY(remote, read_outcome(directory_ + "/private"));
  const std::string share = kShare;
  const SessionVariables session{.directory = share + "/" + kSessionName,
                                 .hook_path = share + "/" + kHookName,
                                 .resolved_config = resolved_config_text(config_),
                                 .is_go = true};
  const char* const nothing = nullptr;
  MIRRORD_TRY(variables, child_environment(&nothing, remote, config_, session));
  for (const std::string& entry : variables.entries()) {
    const std::size_t equals = entry.find('=');
    environment_.push_back({entry.substr(0, equals), entry.substr(equals + 1)});
  }
  return {};
}

std::string Sidecar::identifier_file() const {
  return directory_ + "/private/container.id";
}

std::vector<std::string> Sidecar::options() const {
  std::vector<std::string> words = {"--network", "container:" + name_, "-v",
                                    mount(directory_ + "/share", kShare)};
  if (has_selinux())
    words.insert(words.end(), {"--security-opt", "label=disable"});
  if (!config_.container.platform.empty())
    words.insert(words.end(), {"--platform", config_.container.platform});
  return words;
}

}  // namespace mirrord::container
